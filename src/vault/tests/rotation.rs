//! Root keys that replace each other while cards are kept.

use super::*;

fn key(byte: u8) -> SecretBytes {
    SecretBytes::from_slice(&[byte; 32])
}

/// A vault under version 1, and the keys 1 and 2.
fn first_key() -> (Vault, SecretBytes, SecretBytes) {
    let (one, two) = (key(1), key(2));
    (Vault::new(Keyring::of(&[(1, Some(&one))]).unwrap(), Limits::default()), one, two)
}

#[test]
fn an_older_root_key_opens_and_the_current_one_seals() {
    let (vault, one, two) = first_key();
    let (token, cvv_token) = kept(&vault);
    let rotation = vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW).unwrap();
    assert_eq!((rotation.current, rotation.older, rotation.removed), (2, vec![1], vec![]));
    assert!(number(&vault, &token, &audience(), NOW).is_some());
    assert!(has(&vault, &cvv_token, &token));

    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err());
    assert!(take(&vault, &new, &token, &audience(), NOW).is_ok());
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err(), "nor afterwards");
    let (fresh, _) = kept(&vault);
    vault.revoke(&token, &shop(), NOW).unwrap();

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert!(number(&vault, &fresh, &audience(), NOW).is_some(), "sealed by the current key");
    vault.rotate(&[(3, Some(&key(3)))], NOW).unwrap();
    assert!(number(&vault, &fresh, &audience(), NOW).is_none());
}

#[test]
fn what_a_removed_key_sealed_is_unknown_and_its_live_records_are_counted() {
    let (vault, one, two) = first_key();
    let (token, cvv_token) = kept(&vault);
    vault.mark(b"callback 7", MINUTE, NOW).unwrap();
    vault.rotate(&[(2, Some(&two)), (1, Some(&one))], NOW).unwrap();
    kept(&vault);
    let rotation = vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert_eq!(rotation.removed, [(1, 1)], "the card, whatever became of its code; no mark");
    assert_eq!((rotation.current, rotation.older), (2, vec![]));
    assert!(matches!(vault.redeem(&token, &audience(), NOW), Err(VaultError::NotFound)));
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err());
    assert!(vault.describe(&token, &shop(), NOW).is_err());
}

#[test]
fn a_code_under_a_newer_key_than_its_cards_is_counted_and_lost_without_its_card() {
    for (spent, lost) in [(false, 1), (true, 0)] {
        let (vault, one, two) = first_key();
        let (token, _) = kept(&vault);
        vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW).unwrap();
        let code = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
        if spent {
            drop(take(&vault, &code, &token, &audience(), NOW).unwrap());
        }
        let rotation = vault.rotate(&[(1, Some(&one))], NOW).unwrap();
        assert_eq!(rotation.removed, [(2, lost)]);
        assert!(number(&vault, &token, &audience(), NOW).is_some());
        assert!(!has(&vault, &code, &token));
        assert!(take(&vault, &code, &token, &audience(), NOW).is_err());
    }
}

#[test]
fn a_refused_rotation_changes_nothing() {
    let (vault, one, two) = first_key();
    let (token, _) = kept(&vault);
    assert_eq!(vault.rotate(&[(1, Some(&two))], NOW), Err(KeyringError::Changed(1)));
    assert_eq!(vault.rotate(&[], NOW), Err(KeyringError::Missing));
    let [three, again] = [3, 3].map(key);
    let twice = [(2, Some(&two)), (4, Some(&three)), (3, Some(&again))];
    assert_eq!(vault.rotate(&twice, NOW), Err(KeyringError::SameKey(4)));
    assert!(number(&vault, &token, &audience(), NOW).is_some());
    let rotation = vault.rotate(&[(1, Some(&one))], NOW).unwrap();
    assert_eq!((rotation.current, rotation.removed), (1, vec![]));
}

#[test]
fn what_is_found_by_what_it_says_is_found_after_a_rotation() {
    let (vault, _, two) = first_key();
    let number = Pan::parse(NUMBER.as_bytes()).unwrap();
    let fingerprint = vault.fingerprint(&number);
    assert_eq!(vault.mark(b"callback 7", MINUTE, NOW), Ok(Mark::New));
    assert_eq!(vault.claim(b"callback 8", NOW), Ok(Mark::New));
    assert_eq!(vault.newest(b"invoice 7", 5, MINUTE, NOW), Ok(true));
    let handle = |vault: &Vault| {
        let handle = vault.keep_bearer(b"jwt", &audience(), new(b"context"), MINUTE, NOW).unwrap();
        handle.reveal(str::to_owned)
    };
    let before = handle(&vault);

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert_eq!(vault.fingerprint(&number), fingerprint);
    assert_eq!(vault.mark(b"callback 7", MINUTE, NOW), Ok(Mark::Done));
    assert_eq!(vault.claim(b"callback 8", NOW), Ok(Mark::InFlight));
    assert_eq!(vault.newest(b"invoice 7", 4, MINUTE, NOW), Ok(false));
    assert_eq!(handle(&vault), before);
}

#[test]
fn texts_and_handles_open_after_a_rotation_until_their_key_is_removed() {
    let (vault, one, two) = first_key();
    let text = vault.seal_text("callback", b"https://shop.example/");
    let handle = vault.keep_bearer(b"jwt", &audience(), new(b""), MINUTE, NOW).unwrap();
    let relay = vault.keep_relay(SecretBytes::from_slice(b"pares"), 30 * MINUTE, NOW).unwrap();
    vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW).unwrap();
    let newer = vault.seal_text("callback", b"https://shop.example/");
    assert!(vault.open_text("callback", &text).is_some());
    assert!(vault.open_bearer(&handle, "paymega", Mode::Live, NOW).is_ok());
    assert!(matches!(vault.begin_relay(&relay, NOW), Ok(Begun::First(_))));

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert!(vault.open_text("callback", &text).is_none());
    assert!(vault.open_text("callback", &newer).is_some());
    assert!(vault.open_bearer(&handle, "paymega", Mode::Live, NOW).is_err());
}

/// Cards are taken, paid with and given new codes while keys come and go.
#[test]
fn no_card_is_lost_while_keys_are_rotated_under_traffic() {
    let keys: Vec<_> = (1..=40).map(key).collect();
    let vault = Vault::new(Keyring::of(&[(1, Some(&keys[0]))]).unwrap(), Limits::default());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let (token, cvv_token) = kept(&vault);
                    assert!(number(&vault, &token, &audience(), NOW).is_some());
                    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_ok());
                    let next = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
                    assert!(take(&vault, &next, &token, &audience(), NOW).is_ok());
                    vault.revoke(&token, &shop(), NOW).unwrap();
                }
            });
        }
        for newest in 2..=keys.len() {
            let taken: Vec<_> = (1..).zip(keys.iter().map(Some)).take(newest).collect();
            vault.rotate(&taken, NOW).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(vault.is_empty());
}
