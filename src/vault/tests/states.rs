//! What is kept beside cards: handles, sessions, relays, marks, sealed texts.

use super::*;

// Bearers.

#[test]
fn the_same_secret_has_the_same_handle() {
    let vault = vault();
    let keep = |secret: &[u8], audience: &Audience| {
        let handle = vault.keep_bearer(secret, audience, new(b"invoice 7"), MINUTE, NOW).unwrap();
        handle.reveal(str::to_owned)
    };
    let first = keep(b"jwt", &audience());
    assert_eq!(keep(b"jwt", &audience()), first);
    assert_eq!(vault.len(), 1);
    let others = [
        keep(b"jwu", &audience()),
        keep(b"jwt", &Audience { tenant: Tenant::new("other"), ..audience() }),
        keep(b"jwt", &Audience { account: Account::new("milkypay"), ..audience() }),
        keep(b"jwt", &Audience { mode: Mode::Test, ..audience() }),
    ];
    assert!(!others.contains(&first));
    let elsewhere = self::vault();
    let handle = elsewhere.keep_bearer(b"jwt", &audience(), new(b""), MINUTE, NOW).unwrap();
    handle.reveal(|text| assert_ne!(text, first, "another root key"));
}

#[test]
fn a_handle_opens_to_its_secret_and_names_its_owner() {
    let vault = vault();
    let handle = vault.keep_bearer(b"jwt", &audience(), new(b"invoice 7"), MINUTE, NOW).unwrap();
    let open = |now| vault.open_bearer(&handle, "paymega", Mode::Live, now);
    let bearer = open(NOW).unwrap();
    assert!(bearer.secret.ct_eq(b"jwt") && bearer.context.ct_eq(b"invoice 7"));
    assert_eq!(bearer.tenant, shop());
    for (account, mode) in [("paymega", Mode::Test), ("milkypay", Mode::Live), ("", Mode::Live)] {
        assert!(vault.open_bearer(&handle, account, mode, NOW).is_err(), "{account} {mode:?}");
    }
    assert!(open(NOW.plus(MINUTE)).is_err());
    vault.keep_bearer(b"jwt", &audience(), new(b"invoice 8"), MINUTE, NOW.plus(MINUTE)).unwrap();
    let again = open(NOW.plus(MINUTE)).unwrap();
    assert!(again.context.ct_eq(b"invoice 8"), "kept again: a new life, the new context");
}

#[test]
fn whoever_keeps_a_secret_again_is_told_what_was_kept_beside_it() {
    let vault = vault();
    let keep = |now, told: Option<&[u8]>, context: &[u8]| {
        let merge = |earlier: Option<SecretBytes>| {
            assert_eq!(earlier.map(|earlier| earlier.reveal(<[u8]>::to_vec)).as_deref(), told);
            SecretBytes::from_slice(context)
        };
        vault.keep_bearer(b"jwt", &audience(), merge, 2 * MINUTE, now).unwrap()
    };
    keep(NOW, None, b"one");
    keep(NOW.plus(MINUTE), Some(b"one"), b"two");
    let handle = keep(NOW.plus(2 * MINUTE), Some(b"two"), b"three");
    let bearer = vault.open_bearer(&handle, "paymega", Mode::Live, NOW.plus(3 * MINUTE)).unwrap();
    assert!(bearer.context.ct_eq(b"three"));
    keep(NOW.plus(4 * MINUTE), None, b"an ended one is not there to be told");
}

// Sessions.

fn session(cards_left: u32) -> Session {
    Session {
        owner: owner(),
        origin: "https://shop.example".to_owned(),
        return_url: "https://shop.example/paid".to_owned(),
        theme: "accent=#1f5fbf".to_owned(),
        cards_left,
        expires: NOW.plus(MINUTE),
    }
}

#[test]
fn a_session_counts_its_cards_down() {
    let vault = vault();
    let id = vault.open_session(session(2), NOW).unwrap();
    let found = |now| vault.session(&id, now).map(|seen| seen.session);
    assert_eq!(found(NOW), Ok(session(2)));
    let seen = vault.session(&id, NOW).unwrap();
    assert_eq!(vault.use_session(&id, &seen, NOW), Ok(1));
    assert_eq!(vault.use_session(&id, &seen, NOW), Ok(0), "it was seen before the first card");
    assert_eq!(vault.use_session(&id, &seen, NOW), Err(VaultError::NotFound));
    assert_eq!(found(NOW), Ok(session(0)));
    assert_eq!(found(NOW.plus(MINUTE)), Err(VaultError::NotFound));
}

#[test]
fn a_session_of_ten_cards_takes_ten_of_a_hundred() {
    let vault = vault();
    let id = vault.open_session(session(10), NOW).unwrap();
    let seen = vault.session(&id, NOW).unwrap();
    assert_eq!(count_first(100, || vault.use_session(&id, &seen, NOW).ok()), 10);
}

#[test]
fn one_application_cannot_open_all_the_sessions() {
    let limits = Limits { sessions_per_app: 3, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let open = |tenant: &str, minutes: u32, now: Timestamp| {
        let owner = Owner { tenant: Tenant::new(tenant), ..owner() };
        let expires = NOW.plus(minutes * MINUTE);
        vault.open_session(Session { owner, expires, ..session(1) }, now).map(drop)
    };
    assert_eq!(
        [3, 1, 2, 1].map(|minutes| open("shop", minutes, NOW).is_ok()),
        [true, true, true, false]
    );
    assert_eq!(open("other", 1, NOW), Ok(()));
    let later = NOW.plus(MINUTE);
    assert_eq!((open("shop", 9, later), open("shop", 9, later)), (Ok(()), Err(VaultError::Full)));
}

// Relays.

fn relay(vault: &Vault) -> RelayId {
    vault.keep_relay(SecretBytes::from_slice(b"pares"), 30 * MINUTE, NOW).unwrap()
}

#[test]
fn a_relay_goes_from_issued_over_relaying_to_done() {
    let vault = vault();
    let id = relay(&vault);
    let state = |id: &RelayId| vault.relay(id, NOW).map(|relay| relay.state);
    assert_eq!(state(&id), Ok(RelayState::Issued));
    let Begun::First(payload) = vault.begin_relay(&id, NOW).unwrap() else { panic!("first") };
    assert!(payload.ct_eq(b"pares"));
    assert_eq!(state(&id), Ok(RelayState::Relaying));
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::InFlight)));
    vault.finish_relay(&id, SecretBytes::from_slice(b"answer"), NOW).unwrap();
    assert_eq!(state(&id), Ok(RelayState::Done));
    let Begun::Done(answer) = vault.begin_relay(&id, NOW).unwrap() else { panic!("done") };
    assert!(answer.ct_eq(b"answer"));
    assert!(vault.relay(&id, NOW).unwrap().payload.is_empty(), "nobody needs it any more");
    assert!(vault.relay(&id, NOW.plus(30 * MINUTE)).is_err());
    assert!(vault.begin_relay(&RelayId::random(), NOW).is_err());
}

#[test]
fn only_a_relay_under_way_is_finished_or_abandoned() {
    let vault = vault();
    let id = relay(&vault);
    let answer = || SecretBytes::from_slice(b"answer");
    assert_eq!(vault.finish_relay(&id, answer(), NOW), Err(VaultError::NotFound));
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::First(_))));
    vault.abandon_relay(&id, NOW);
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::First(_))), "the next is first again");
    vault.finish_relay(&id, answer(), NOW).unwrap();
    assert_eq!(vault.finish_relay(&id, answer(), NOW), Err(VaultError::NotFound));
    vault.abandon_relay(&id, NOW);
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::Done(_))));
}

#[test]
fn of_a_hundred_callers_one_passes_the_relay_on() {
    let vault = vault();
    let id = relay(&vault);
    let begin = || match vault.begin_relay(&id, NOW) {
        Ok(Begun::First(payload)) => Some(payload),
        Ok(Begun::InFlight | Begun::Done(_)) | Err(_) => None,
    };
    assert_eq!(count_first(100, begin), 1);
}

// Marks.

#[test]
fn a_claim_is_new_once_until_it_is_done_or_given_up() {
    let vault = vault();
    let claim = |key: &[u8]| vault.claim(key, NOW);
    assert_eq!(claim(b"a"), Ok(Mark::New));
    assert_eq!(claim(b"a"), Ok(Mark::InFlight));
    assert_eq!(claim(b"b"), Ok(Mark::New));
    vault.mark_done(b"a", 60 * MINUTE, NOW).unwrap();
    assert_eq!(claim(b"a"), Ok(Mark::Done));
    vault.release(b"b", NOW);
    assert_eq!(claim(b"b"), Ok(Mark::New));
    vault.release(b"a", NOW);
    assert_eq!(claim(b"a"), Ok(Mark::Done), "what was dealt with is not given up");
    let late = NOW.plus(60 * MINUTE);
    assert_eq!(vault.claim(b"a", late), Ok(Mark::New));
    assert_eq!(count_first(100, || claim(b"c").ok().filter(|mark| *mark == Mark::New)), 1);
}

#[test]
fn a_claim_whose_holder_vanished_ends_after_six_minutes() {
    let vault = vault();
    assert_eq!(vault.claim(b"a", NOW), Ok(Mark::New));
    let before = Timestamp::from_millis(NOW.plus(6 * MINUTE).as_millis() - 1);
    assert_eq!(vault.claim(b"a", before), Ok(Mark::InFlight));
    let late = NOW.plus(6 * MINUTE);
    assert_eq!(vault.claim(b"a", late), Ok(Mark::New));
    // The first holder comes back after all: he gives up his own claim and nobody else's.
    vault.release(b"a", NOW);
    assert_eq!(vault.claim(b"a", late), Ok(Mark::InFlight));
    vault.mark_done(b"a", 60 * MINUTE, late).unwrap();
    assert_eq!(vault.claim(b"a", NOW.plus(62 * MINUTE)), Ok(Mark::Done));
}

#[test]
fn a_mark_stays_to_its_end_or_until_it_is_forgotten() {
    let vault = vault();
    let mark = |now| vault.mark(b"a", 60 * MINUTE, now);
    assert_eq!([mark(NOW), mark(NOW.plus(59 * MINUTE))], [Ok(Mark::New), Ok(Mark::Done)]);
    vault.unmark(b"a");
    assert_eq!(mark(NOW), Ok(Mark::New));
    assert_eq!(mark(NOW.plus(60 * MINUTE)), Ok(Mark::New));
}

#[test]
fn no_kind_of_record_takes_the_room_of_another() {
    let limits = Limits {
        capacity: 1,
        states: 1,
        marks: 1,
        idempotency: 1,
        idempotency_per_app: 1,
        ..Limits::default()
    };
    let vault = Vault::new(Keyring::random(), limits);
    let relay = || vault.keep_relay(SecretBytes::from_slice(b"x"), MINUTE, NOW).map(drop);
    let card = || vault.keep_card(capture(Some("987")), &owner(), NOW).map(drop);
    let claim = |key: &[u8]| vault.claim_once(&shop(), &[key], &[b"sale"], NOW).map(drop);
    assert_eq!((claim(b"a"), claim(b"b")), (Ok(()), Err(VaultError::Full)));
    assert_eq!(vault.mark(b"a", MINUTE, NOW), Ok(Mark::New));
    assert_eq!(vault.mark(b"b", MINUTE, NOW), Err(VaultError::Full));
    assert_eq!(vault.claim(b"b", NOW), Err(VaultError::Full));
    assert_eq!(vault.newest(b"b", 1, MINUTE, NOW), Err(VaultError::Full));
    assert_eq!((relay(), relay()), (Ok(()), Err(VaultError::Full)));
    assert_eq!((card(), card()), (Ok(()), Err(VaultError::Full)));
    assert_eq!((vault.sweep(NOW.plus(MINUTE)), vault.len()), (2, 2));
    assert_eq!((relay(), vault.mark(b"b", MINUTE, NOW)), (Ok(()), Ok(Mark::New)));
}

#[test]
fn rooms_tell_what_is_left_of_each_bound() {
    let limits = Limits {
        capacity: 9,
        states: 8,
        states_bytes: 9_000,
        marks: 7,
        idempotency: 6,
        idempotency_bytes: 6_000,
        idempotency_per_app: 3,
        ..Limits::default()
    };
    let vault = Vault::new(Keyring::random(), limits);
    let told = || vault.rooms();
    let empty = [
        ("cards", 9, 9),
        ("states", 8, 8),
        ("states_bytes", 9_000, 9_000),
        ("marks", 7, 7),
        ("idempotency", 6, 6),
        ("idempotency_bytes", 6_000, 6_000),
        ("idempotency_per_app", 3, 3),
        ("idempotency_bytes_per_app", 3_000, 3_000),
    ];
    assert_eq!(told(), empty);
    let day = Duration::from_secs(86_400);
    for (tenant, key) in [("shop", b"1"), ("shop", b"2"), ("other", b"1")] {
        let tenant = Tenant::new(tenant);
        let claimed =
            vault.claim_once(&tenant, &[tenant.as_str().as_bytes(), key], &[b"sale"], NOW);
        let Ok(Once::First(claim)) = claimed else { panic!() };
        vault.answer_once(&claim, &SecretBytes::from_slice(&[b'x'; 1000]), NOW);
    }
    let (token, _) = kept(&vault);
    vault.keep_relay(SecretBytes::from_slice(&[b'x'; 1000]), MINUTE, NOW).unwrap();
    vault.mark(b"a", MINUTE, NOW).unwrap();
    let [cards, states, bytes, marks, onces @ ..] = told();
    let used = [
        ("idempotency", 6, 3),
        ("idempotency_bytes", 6_000, 3_000),
        ("idempotency_per_app", 3, 1),
        ("idempotency_bytes_per_app", 3_000, 1_000),
    ];
    assert_eq!(onces, used);
    assert_eq!((cards, states, marks), (("cards", 9, 8), ("states", 8, 7), ("marks", 7, 6)));
    assert!((7_500..8_000).contains(&bytes.2), "{bytes:?}");
    vault.revoke(&token, &shop(), NOW).unwrap();
    vault.sweep(NOW.plus(day));
    assert_eq!(told(), empty);
}

#[test]
fn what_is_looked_at_stays_and_is_told_to_whom_it_would_be_handed_out() {
    let vault = vault();
    let (token, cvv) = kept(&vault);
    let other = Audience { tenant: Tenant::new("other"), ..audience() };
    for _ in 0..2 {
        let (preview, found) = vault.preview(&token, &audience(), NOW).unwrap();
        assert_eq!(
            (preview.masked.to_string(), preview.has_holder),
            ("551928******0000".into(), true)
        );
        assert_eq!(vault.has_cvv(&cvv, &token, &found, NOW), Ok(()));
        assert!(vault.has_cvv(&cvv, &token, &found, NOW.plus(15 * MINUTE)).is_err());
        assert!(vault.preview(&token, &other, NOW).is_err());
    }
    assert_eq!(code(&take(&vault, &cvv, &token, &audience(), NOW)).as_deref(), Some("987"));
    let (_, found) = vault.preview(&token, &audience(), NOW).unwrap();
    assert!(vault.has_cvv(&cvv, &token, &found, NOW).is_err());
    assert!(!vault.is_marked(b"a", NOW) && !vault.is_marked(b"a", NOW));
    vault.mark(b"a", MINUTE, NOW).unwrap();
    assert!(vault.is_marked(b"a", NOW) && !vault.is_marked(b"a", NOW.plus(MINUTE)));
}

#[test]
fn long_payloads_are_bounded_in_bytes() {
    let limits = Limits { states_bytes: 10_000, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let keep = || vault.keep_relay(SecretBytes::from_slice(&[b'x'; 4000]), MINUTE, NOW);
    let first = keep().unwrap();
    keep().unwrap();
    assert_eq!(keep().err(), Some(VaultError::Full));
    let bearer = vault.keep_bearer(&[b'j'; 4000], &audience(), new(b""), MINUTE, NOW);
    assert_eq!(bearer.err(), Some(VaultError::Full));
    assert!(matches!(vault.begin_relay(&first, NOW), Ok(Begun::First(_))));
    let long = SecretBytes::from_slice(&[b'x'; 9000]);
    assert!(vault.finish_relay(&first, long, NOW).is_err(), "an answer finds no room");
    assert!(
        matches!(vault.begin_relay(&first, NOW), Ok(Begun::InFlight)),
        "and none is sent twice"
    );
    vault.finish_relay(&first, SecretBytes::from_slice(b"answer"), NOW).unwrap();
    keep().unwrap();
}

#[test]
fn the_last_sixteenth_is_kept_for_answers_to_what_has_left() {
    let limits = Limits { states: 32, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let keep = || vault.keep_relay(SecretBytes::from_slice(b"x"), MINUTE, NOW);
    for _ in 0..30 {
        assert_eq!(vault.room_for_payment(), Ok(()));
        keep().unwrap();
    }
    assert_eq!(vault.room_for_payment(), Err(VaultError::Full));
    assert_eq!(vault.open_session(session(1), NOW).err(), Some(VaultError::Full));
    assert!(keep().is_ok() && keep().is_ok() && keep().is_err());
    vault.sweep(NOW.plus(MINUTE));
    assert_eq!(vault.room_for_payment(), Ok(()));
    let bytes = Limits { states_bytes: 32, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), Limits { states_bytes: 160, ..bytes });
    vault.keep_relay(SecretBytes::from_slice(&[0; 80]), MINUTE, NOW).unwrap();
    assert_eq!(vault.room_for_payment(), Err(VaultError::Full), "nor beyond the bytes");
}

#[test]
fn an_older_value_is_told_apart_from_the_newest() {
    let vault = vault();
    let newest = |value| vault.newest(b"invoice", value, MINUTE, NOW).unwrap();
    assert_eq!(
        [5, 5, 4, 7, 6, 5, 7, 8].map(newest),
        [true, true, false, true, false, false, true, true]
    );
    assert_eq!(vault.newest(b"other", 1, MINUTE, NOW), Ok(true));
    std::thread::scope(|scope| {
        for value in 0..100 {
            let vault = &vault;
            scope.spawn(move || vault.newest(b"raced", value, MINUTE, NOW).unwrap());
        }
    });
    assert_eq!(vault.newest(b"raced", 98, MINUTE, NOW), Ok(false));
    assert_eq!(vault.newest(b"raced", 99, MINUTE, NOW), Ok(true));
}

// Texts and fingerprints.

#[test]
fn a_sealed_text_opens_for_its_purpose_alone() {
    let vault = vault();
    let sealed = vault.seal_text("callback", b"https://shop.example/cb?x=1");
    assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert!(vault.open_text("callback", &sealed).unwrap().ct_eq(b"https://shop.example/cb?x=1"));
    assert!(vault.open_text("other", &sealed).is_none());
    assert!(self::vault().open_text("callback", &sealed).is_none());
    assert!(vault.open_text("callback", "").is_none());
    assert_ne!(vault.seal_text("callback", b"same"), vault.seal_text("callback", b"same"));
    assert!(vault.is_empty());
}

#[test]
fn every_changed_character_of_a_sealed_text_keeps_it_shut() {
    let vault = vault();
    let sealed = vault.seal_text("callback", b"https://shop.example/");
    for place in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(vault.open_text("callback", &changed).is_none(), "{place}");
        assert!(vault.open_text("callback", &sealed[..place]).is_none());
    }
}

#[test]
fn a_fingerprint_is_the_same_for_a_number_in_one_process() {
    let (here, there) = (vault(), vault());
    let pan = |text: &str| Pan::parse(text.as_bytes()).unwrap();
    assert_eq!(here.fingerprint(&pan(NUMBER)), here.fingerprint(&pan("5519 2838 1203 0000")));
    assert_ne!(here.fingerprint(&pan(NUMBER)), here.fingerprint(&pan("4111111111111111")));
    assert_ne!(here.fingerprint(&pan(NUMBER)), there.fingerprint(&pan(NUMBER)));
    assert_eq!(format!("{:?}", here.fingerprint(&pan(NUMBER))), "Fingerprint(..)");
}
