//! What opens, and what stays shut.

use super::super::code::CODE_BYTES;
use super::super::sealed::NAME_BYTES;
use super::super::{Account, Accounts, Audience, Owner, Tenant};
use super::*;
use crate::card::Mode;
use crate::secret::left::{invert, is_in_memory, is_left_by, is_left_on_stack_by};
use crate::secret::wycheproof::{cases, hex};
use aes_gcm::KeySizeUser;
use aes_gcm::aes::{Aes128, Aes192};
use proptest::prelude::*;
use serde_json::Value;
use std::hint::black_box;

const END: Timestamp = Timestamp::from_secs(2_000);

fn root(version: u32, byte: u8) -> Root {
    Root::new(version, &[byte; KEY_BYTES])
}

fn address(bits: &[u8; 20]) -> Address<'_> {
    Address { kind: Kind::Card, bits, further: &[] }
}

fn owner() -> Owner {
    let accounts = Accounts::Only(vec![Account::new("paymega"), Account::new("milkypay")]);
    Owner { tenant: Tenant::new("shop"), accounts, mode: Mode::Live }
}

fn named(root: &Root, address: &Address<'_>) -> (Name, [u8; SALT_BYTES]) {
    (root.name(address), Random::fetch(SALT_BYTES).take())
}

fn opens(root: &Root, address: &Address<'_>, sealed: &Sealed) -> bool {
    root.open(address, root.name(address), sealed.copied()).is_some()
}

fn sealed(root: &Root, address: &Address<'_>) -> Sealed {
    root.seal(address, named(root, address), &Scope::from(&owner()), END, b"5519283812030000")
        .unwrap()
}

#[test]
fn what_was_sealed_opens_with_its_header() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let sealed = sealed(&root, &address(&bits));
    let opened = root.open(&address(&bits), root.name(&address(&bits)), sealed).unwrap();
    assert_eq!(opened.plain(), b"5519283812030000");
    let header = opened.header().unwrap();
    assert_eq!((header.expires, header.owner()), (END, Some(owner())));
}

#[test]
fn nothing_of_the_cleartext_is_in_the_record() {
    let sealed = sealed(&root(1, 1), &address(&[7; 20]));
    assert!(!sealed.bytes().windows(4).any(|window| window == b"5519" || window == b"0000"));
}

#[test]
fn every_flipped_bit_of_a_record_keeps_it_shut() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let right = sealed(&root, &address(&bits));
    assert!(opens(&root, &address(&bits), &right));
    // Its code is not part of it: that comes and goes.
    for place in 0..right.len() - CODE_BYTES {
        for bit in 0..8 {
            let mut wrong = right.copied();
            wrong.bytes_mut()[place] ^= 1 << bit;
            assert!(!opens(&root, &address(&bits), &wrong), "byte {place} bit {bit}");
        }
    }
    let rest = right.without_name().concat();
    for len in SALT_BYTES..rest.len() {
        let cut = Sealed::with_name(right.name(), &rest[..len]).unwrap();
        assert!(!opens(&root, &address(&bits), &cut));
    }
}

#[test]
fn every_part_of_the_address_is_needed() {
    let (root_1, bits) = (root(1, 1), [7; 20]);
    let text = Address { kind: Kind::Text, bits: &bits, further: &[9; 20] };
    let right = sealed(&root_1, &text);
    assert!(opens(&root_1, &text, &right));
    let wrong = [
        Address { kind: Kind::Card, ..text },
        Address { bits: &[8; 20], ..text },
        Address { further: &[8; 20], ..text },
        Address { further: &[], ..text },
    ];
    for address in &wrong {
        assert!(!opens(&root_1, address, &right));
    }
    assert!(!opens(&root(1, 2), &text, &right), "another root key");
    assert!(!opens(&root(2, 1), &text, &right), "another key version");
    assert!(root_1.open(&text, Name([0; 16]), right).is_none(), "another name");
}

#[test]
fn a_header_of_another_record_does_not_fit() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let plain = b"5519283812030000";
    let seal = |owner: &Owner, end| {
        root.seal(&address(&bits), named(&root, &address(&bits)), &Scope::from(owner), end, plain)
            .unwrap()
    };
    let right = seal(&owner(), END);
    let others = [
        seal(&Owner { tenant: Tenant::new("shoq"), ..owner() }, END),
        seal(&Owner { accounts: Accounts::All, ..owner() }, END),
        seal(&Owner { accounts: Accounts::Only(vec![Account::new("paymega")]), ..owner() }, END),
        seal(&Owner { mode: Mode::Test, ..owner() }, END),
        seal(&owner(), Timestamp::from_secs(9_000)),
    ];
    let behind = plain.len() + TAG_BYTES + CODE_BYTES;
    let (salt, ending) = right.bytes().split_at(SALT_BYTES);
    let ending = &ending[ending.len() - behind..];
    for other in others {
        // The salt and ciphertext of one record behind the header of another.
        let header = &other.without_name()[1][..other.len() - SALT_BYTES - NAME_BYTES - behind];
        let swapped = [salt, header, ending].concat();
        let swapped = Sealed::with_name(right.name(), &swapped).unwrap();
        assert!(swapped.header().is_some(), "the header itself is well formed");
        assert!(!opens(&root, &address(&bits), &swapped));
        assert!(opens(&root, &address(&bits), &other));
    }
}

#[test]
fn a_header_refuses_another_tenant_mode_and_account() {
    let sealed = sealed(&root(1, 1), &address(&[7; 20]));
    let header = sealed.header().unwrap();
    let audience = |tenant, account, mode| Audience {
        tenant: Tenant::new(tenant),
        account: Account::new(account),
        mode,
    };
    assert!(header.admits(&audience("shop", "milkypay", Mode::Live)));
    assert!(!header.admits(&audience("shop", "milkypay", Mode::Test)));
    assert!(!header.admits(&audience("sho", "milkypay", Mode::Live)));
    assert!(!header.admits(&audience("shop", "milky", Mode::Live)));
    assert!(header.is_of(&Tenant::new("shop"), Mode::Live));
    assert!(!header.is_of(&Tenant::new("shop"), Mode::Test));
    assert!(!header.is_of(&Tenant::new("other"), Mode::Live));
}

#[test]
fn two_seals_of_one_record_share_neither_salt_nor_ciphertext() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let (first, second) = (sealed(&root, &address(&bits)), sealed(&root, &address(&bits)));
    assert_ne!(first.stamp(), second.stamp());
    let end = |sealed: &Sealed| {
        let until_code = &sealed.bytes()[..sealed.len() - CODE_BYTES];
        *until_code.last_chunk::<32>().unwrap()
    };
    assert_ne!(end(&first), end(&second));
}

#[test]
fn a_closed_record_holds_nothing_of_what_was_sealed() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let first = sealed(&root, &address(&bits));
    let named = first.name();
    let opened = root.open(&address(&bits), named, first).unwrap();
    let message = opened.message.clone();
    assert_eq!(&opened.record.bytes()[message.clone()], b"5519283812030000");
    let closed = opened.closed();
    assert!(closed.bytes()[message].iter().all(|byte| *byte == 0));
    assert!(closed.name() == named, "and is found by its name");
}

#[test]
fn no_key_of_a_record_is_left_in_memory() {
    let (root, bits) = (Root::random(1), [7; 20]);
    let (address, name) = (address(&bits), root.name(&address(&bits)));
    // The longer one is encrypted many blocks at a time.
    for len in [16, 5_000] {
        let salt = Random::fetch(SALT_BYTES).take();
        let parts: [&[u8]; 3] = [&[Kind::Card as u8], &salt, &bits];
        let key = scoured(|| invert(root.derive("key", &parts).as_slice()));
        let place = (name, salt);
        let seal = || root.seal(&address, place, &Scope::NOBODY, END, &vec![b'5'; len]);
        let (is_left, sealed) = is_left_by(&key, seal);
        assert!(!is_left, "by sealing {len} bytes");
        let open = || root.open(&address, name, sealed.unwrap()).is_some();
        assert_eq!(is_left_by(&key, open), (false, true), "by opening {len} bytes");
        let clear = invert(&key);
        assert!(is_in_memory(&key), "the search finds what is there");
        drop(clear);
        let held = || black_box(*invert(&key).first_chunk::<16>().unwrap());
        assert!(is_left_by(&key[..16], held).0, "and what work leaves");
        assert!(is_left_on_stack_by(&key[..16], held).0, "on a stack, too");
    }
}

#[test]
fn a_resealed_record_keeps_its_header_and_draws_a_new_salt() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let address = Address { kind: Kind::Session, ..address(&bits) };
    let first = sealed(&root, &address);
    let stamp = first.stamp();
    let name = root.name(&address);
    let opened = root.open(&address, name, first).unwrap();
    let second = root.reseal(&address, &opened, b"next").unwrap();
    assert_ne!(second.stamp(), stamp);
    let opened = root.open(&address, name, second).unwrap();
    assert_eq!(opened.plain(), b"next");
    assert_eq!(opened.header().and_then(|header| header.owner()), Some(owner()));
}

#[test]
fn a_card_is_not_resealed() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let card = address(&bits);
    let opened = root.open(&card, root.name(&card), sealed(&root, &card)).unwrap();
    assert!(root.reseal(&card, &opened, b"next").is_none(), "its code would be lost");
}

#[test]
fn names_that_do_not_fit_a_header_are_not_sealed() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let seal = |owner: &Owner| {
        root.seal(&address(&bits), named(&root, &address(&bits)), &Scope::from(owner), END, b"")
    };
    let long = "x".repeat(256);
    assert!(seal(&Owner { tenant: Tenant::new(&long), ..owner() }).is_none());
    assert!(seal(&Owner { tenant: Tenant::new(&long[..255]), ..owner() }).is_some());
    let many = Accounts::Only(vec![Account::new("a"); 256]);
    assert!(seal(&Owner { accounts: many, ..owner() }).is_none());
}

#[test]
fn a_record_travels_without_its_name() {
    let (root, bits) = (root(1, 1), [7; 20]);
    let right = sealed(&root, &address(&bits));
    let rest = right.without_name().concat();
    assert_eq!(rest.len() + NAME_BYTES, right.len());
    let name = root.name(&address(&bits));
    assert!(opens(&root, &address(&bits), &Sealed::with_name(name, &rest).unwrap()));
    assert!(!opens(&root, &address(&bits), &Sealed::with_name(Name([1; 16]), &rest).unwrap()));
    assert!(Sealed::with_name(name, &rest[..SALT_BYTES - 1]).is_none());
}

#[test]
fn a_root_key_has_32_bytes_and_knows_its_like() {
    assert!(Root::read(1, &SecretBytes::from_slice(&[1; 31])).is_none());
    let read = Root::read(1, &SecretBytes::from_slice(&[1; 32])).unwrap();
    assert!(read.is_same(&root(2, 1)));
    assert!(!read.is_same(&root(1, 2)));
    assert!(!Root::random(1).is_same(&Root::random(1)));
    let sealed = sealed(&root(0x0102_0304, 1), &address(&[7; 20]));
    assert_eq!(sealed.version(), 0x0102_0304);
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_to_itself(
        key: [u8; 32], bits: [u8; 20], version: u32, live: bool, end: u64,
        tenant in ".{0,40}",
        accounts in proptest::option::of(proptest::collection::vec(".{0,20}", 0..5)),
        plain in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let root = Root::new(version, &key);
        let accounts = accounts.map_or(Accounts::All, |names| {
            Accounts::Only(names.iter().map(|name| Account::new(name)).collect())
        });
        let mode = if live { Mode::Live } else { Mode::Test };
        let owner = Owner { tenant: Tenant::new(&tenant), accounts, mode };
        let (address, end) = (address(&bits), Timestamp::from_millis(end));
        let (name, scope) = (root.name(&address), Scope::from(&owner));
        let sealed = root.seal(&address, named(&root, &address), &scope, end, &plain).unwrap();
        prop_assert_eq!((sealed.expires(), sealed.name() == name), (end, true));
        let opened = root.open(&address, name, sealed).unwrap();
        prop_assert_eq!(opened.plain(), plain.as_slice());
        let header = opened.header().unwrap();
        prop_assert_eq!((header.owner(), header.expires), (Some(owner), end));
    }

    #[test]
    fn any_bytes_stay_shut(bytes in proptest::collection::vec(any::<u8>(), SALT_BYTES..200)) {
        let (root, bits) = (root(1, 1), [7; 20]);
        let sealed = Sealed::with_name(root.name(&address(&bits)), &bytes).unwrap();
        prop_assert!(!opens(&root, &address(&bits), &sealed));
    }
}

// Vectors. Origin and licence: tests/vectors/SOURCES.md.

fn gcm_agrees<C>(case: &Value) -> bool
where
    C: KeyInit + KeySizeUser + AeadInOut<NonceSize = U12>,
{
    let cipher = C::new_from_slice(&hex(case, "key")).unwrap();
    let nonce: [u8; 12] = hex(case, "iv").try_into().unwrap();
    let (aad, message, ciphertext) = (hex(case, "aad"), hex(case, "msg"), hex(case, "ct"));
    let tag = hex(case, "tag");
    let valid = case["result"] == "valid";

    let mut buffer = ciphertext.clone();
    let given = aes_gcm::aead::Tag::<C>::try_from(tag.as_slice()).unwrap();
    let opened = cipher
        .decrypt_inout_detached(&nonce.into(), &aad, buffer.as_mut_slice().into(), &given)
        .is_ok();
    let mut sealed = message.clone();
    let made =
        cipher.encrypt_inout_detached(&nonce.into(), &aad, sealed.as_mut_slice().into()).unwrap();
    if valid {
        opened && buffer == message && sealed == ciphertext && made.as_slice() == tag
    } else {
        !opened
    }
}

#[test]
fn aes_gcm_agrees_with_wycheproof() {
    let mut run = 0;
    for (group, case) in cases(include_str!("../../../tests/vectors/aes_gcm_test.json")) {
        if group["ivSize"] != 96 {
            continue;
        }
        let agrees = match group["keySize"].as_u64() {
            Some(128) => gcm_agrees::<AesGcm<Aes128, U12>>(&case),
            Some(192) => gcm_agrees::<AesGcm<Aes192, U12>>(&case),
            _ => gcm_agrees::<Cipher>(&case),
        };
        assert!(agrees, "case {}", case["tcId"]);
        run += 1;
    }
    assert_eq!(run, 197);
}

#[test]
fn hmac_sha_256_agrees_with_wycheproof() {
    let mut run = 0;
    for (_, case) in cases(include_str!("../../../tests/vectors/hmac_sha256_test.json")) {
        let mut mac =
            <HmacReset<Sha256> as hmac::KeyInit>::new_from_slice(&hex(&case, "key")).unwrap();
        mac.update(&hex(&case, "msg"));
        let agrees = mac.verify_truncated_left(&hex(&case, "tag")).is_ok();
        assert_eq!(agrees, case["result"] == "valid", "case {}", case["tcId"]);
        run += 1;
    }
    assert_eq!(run, 174);
}

#[test]
fn a_derivation_is_hmac_over_its_label_and_parts() {
    let key = [5; KEY_BYTES];
    let mut mac = <HmacReset<Sha256> as hmac::KeyInit>::new_from_slice(&key).unwrap();
    mac.update(b"\x04nameab");
    let expected: [u8; 32] = mac.finalize().into_bytes().into();
    assert_eq!(*Root::new(1, &key).derive("name", &[b"a", b"b"]), expected);
}
