//! What a place to keep records must do, whatever it is. It is given sealed bytes, reads the name,
//! the stamp and the end of a life off them, and compares and sets by the stamp; of a card's record
//! the same holds for the security code at its end.
//!
//! One backend today. The second makes [`Store`] an enum of the two, matched without a wildcard;
//! the contract below is then run over both.

use super::usage::Amount;

/// The backend in use.
pub(super) type Store = super::memory::MemoryStore;

/// What a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) records: usize,
    /// Bytes of all records together, without what the store itself needs for them.
    pub(super) bytes: usize,
    /// What of these one tenant has at most, where that is bounded.
    pub(super) share: Option<Share>,
}

impl Bounds {
    pub(super) const fn records(records: usize) -> Self {
        Self { records, bytes: usize::MAX, share: None }
    }
}

/// The part of a store that one tenant has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) most: Amount,
    /// So many sealed bytes each record has: their number bounds those, and only what goes beyond
    /// counts as bytes. So long records leave room for short ones.
    pub(super) bare: usize,
}

/// Why a record was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No room; live records are never given up for new ones.
    Full,
    /// The name is in use.
    Taken,
}

#[cfg(test)]
mod tests {
    use super::super::code::Code;
    use super::super::header::Kind;
    use super::super::sealed::{Name, Sealed, Stamp};
    use super::*;
    use crate::card::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const LATER: Timestamp = Timestamp::from_secs(2_000);
    const END: Timestamp = Timestamp::from_secs(3_000);

    fn store(records: usize) -> Store {
        Store::new(4, Bounds::records(records))
    }

    fn kept(name: Name, stamp: u8, expires: Timestamp) -> Sealed {
        long(name, stamp, expires, 0)
    }

    fn long(name: Name, stamp: u8, expires: Timestamp, more: usize) -> Sealed {
        let end = expires.as_millis().to_be_bytes();
        let parts = [&[stamp; 16], [0; 6].as_slice(), &end, &vec![0; more]];
        Sealed::with_name(name, &parts.concat()).unwrap()
    }

    fn stamp(stamp: u8) -> Stamp {
        Stamp([stamp; 16])
    }

    fn seen(store: &Store, name: Name, now: Timestamp) -> Option<u8> {
        store.get(&name, now).map(|sealed| sealed.stamp().0[0])
    }

    const A: Name = Name([1; 16]);
    const B: Name = Name([2; 16]);
    const C: Name = Name([3; 16]);

    #[test]
    fn a_record_is_found_until_its_end() {
        let store = store(10);
        store.insert(kept(A, 1, LATER), NOW).unwrap();
        assert_eq!(seen(&store, A, NOW), Some(1));
        assert_eq!(seen(&store, B, NOW), None);
        assert_eq!(seen(&store, A, Timestamp::from_millis(LATER.as_millis() - 1)), Some(1));
        assert_eq!(seen(&store, A, LATER), None);
        assert!(store.contains(&A, NOW) && !store.contains(&A, LATER));
    }

    #[test]
    fn a_live_name_is_not_inserted_twice_and_an_expired_one_is() {
        let store = store(10);
        store.insert(kept(A, 1, LATER), NOW).unwrap();
        assert_eq!(store.insert(kept(A, 2, END), NOW), Err(Refused::Taken));
        assert_eq!(seen(&store, A, NOW), Some(1));
        store.insert(kept(A, 3, END), LATER).unwrap();
        assert_eq!((seen(&store, A, LATER), store.len()), (Some(3), 1));
    }

    #[test]
    fn a_full_store_refuses_and_keeps_what_it_has() {
        let store = store(2);
        store.insert(kept(A, 1, END), NOW).unwrap();
        store.put(kept(B, 2, END)).unwrap();
        assert_eq!(store.insert(kept(C, 3, END), NOW), Err(Refused::Full));
        assert_eq!(store.put(kept(C, 3, END)), Err(Refused::Full));
        assert_eq!(store.len(), 2);
        store.put(kept(A, 4, END)).unwrap();
        assert_eq!(
            (seen(&store, A, NOW), seen(&store, B, NOW), store.len()),
            (Some(4), Some(2), 2)
        );
        assert!(store.remove(&A));
        store.insert(kept(C, 3, END), NOW).unwrap();
    }

    #[test]
    fn a_store_whose_bytes_are_used_up_refuses_and_counts_what_goes() {
        let len = kept(A, 1, END).len();
        let store = Store::new(4, Bounds { bytes: 2 * len + 10, ..Bounds::records(10) });
        store.insert(kept(A, 1, END), NOW).unwrap();
        assert_eq!(store.insert(long(B, 2, END, len), NOW), Err(Refused::Full));
        store.insert(kept(B, 2, END), NOW).unwrap();
        assert_eq!(store.insert(kept(C, 3, END), NOW), Err(Refused::Full));
        assert!(!store.replace_if(stamp(1), long(A, 4, END, 11)), "a next state has no more room");
        assert!(store.replace_if(stamp(1), long(A, 4, END, 10)));
        assert!(store.replace_if(stamp(4), kept(A, 5, END)), "a shorter one gives room back");
        assert!(store.put(long(A, 6, END, 11)).is_err());
        assert!(store.take_if(&B, stamp(2)).is_some());
        store.put(long(A, 6, END, 11)).unwrap();
        assert!(store.remove(&A));
        store.insert(long(C, 7, LATER, len), NOW).unwrap();
        assert_eq!(store.sweep_part(LATER, 0, 1), 1);
        store.insert(long(C, 7, LATER, len + 10), NOW).unwrap();
    }

    #[test]
    fn compare_and_set_asks_for_the_stamp_it_saw() {
        let store = store(10);
        store.insert(kept(A, 1, END), NOW).unwrap();
        assert!(!store.replace_if(stamp(9), kept(A, 2, END)));
        assert!(!store.replace_if(stamp(1), kept(B, 2, END)));
        assert!(store.replace_if(stamp(1), kept(A, 2, END)));
        assert!(!store.replace_if(stamp(1), kept(A, 3, END)));
        assert_eq!((seen(&store, A, NOW), store.len()), (Some(2), 1));
    }

    #[test]
    fn taking_asks_for_the_stamp_and_happens_once() {
        let store = store(10);
        store.insert(kept(A, 1, END), NOW).unwrap();
        assert!(store.take_if(&A, stamp(2)).is_none());
        let taken = store.take_if(&A, stamp(1)).unwrap();
        assert_eq!((taken.stamp(), taken.expires()), (stamp(1), END));
        assert!(store.take_if(&A, stamp(1)).is_none());
        assert_eq!(store.len(), 0);
    }

    /// A card's record whose header is as short as one can be.
    fn card(name: Name, expires: Timestamp) -> Sealed {
        let end = expires.as_millis().to_be_bytes();
        let rest = [&[1; 16], [Kind::Card as u8, 0, 0, 0, 0, 0].as_slice(), &end, &[0; 100]];
        Sealed::with_name(name, &rest.concat()).unwrap()
    }

    fn code(stamp: u8, expires: Timestamp) -> Code {
        let end = expires.as_millis().to_be_bytes();
        [[stamp; 16].as_slice(), &[0; 4], &end, &[7; 20]].concat().try_into().unwrap()
    }

    fn code_seen(store: &Store, name: Name) -> Option<u8> {
        let card = store.get(&name, NOW)?;
        card.has_code(NOW).then(|| card.code_stamp().unwrap().0[0])
    }

    #[test]
    fn a_code_lies_with_a_live_card_and_with_nothing_else() {
        let store = store(2);
        store.insert(card(A, LATER), NOW).unwrap();
        store.insert(kept(B, 1, END), NOW).unwrap();
        assert!(store.set_code(&A, &code(2, END), NOW));
        assert!(!store.set_code(&A, &code(3, END), LATER), "the card is over");
        assert!(!store.set_code(&B, &code(3, END), NOW), "no card");
        assert!(!store.set_code(&C, &code(3, END), NOW), "nothing");
        assert_eq!((code_seen(&store, A), store.len()), (Some(2), 2));
        assert_eq!(store.get(&B, NOW).unwrap().bytes(), kept(B, 1, END).bytes());
        assert!(!store.take_code(&B, stamp(0)) && !store.take_code(&A, stamp(0)));
    }

    #[test]
    fn a_code_is_taken_once_and_nothing_of_it_is_left() {
        let store = store(1);
        store.insert(card(A, END), NOW).unwrap();
        store.set_code(&A, &code(2, END), NOW);
        assert!(!store.take_code(&A, stamp(3)));
        assert!(store.take_code(&A, stamp(2)));
        assert!(!store.take_code(&A, stamp(2)));
        let left = store.get(&A, NOW).unwrap();
        assert_eq!(left.code().unwrap(), [[2; 16].as_slice(), &[0; 32]].concat().as_slice());
    }

    #[test]
    fn a_code_goes_back_only_to_the_place_it_was_taken_from() {
        let store = store(1);
        store.insert(card(A, END), NOW).unwrap();
        let back = |stamp, now| store.put_code_back(&A, &code(stamp, LATER), now);
        assert!(!back(2, NOW), "it was never there");
        store.set_code(&A, &code(2, LATER), NOW);
        assert!(!back(2, NOW), "it is there");
        store.take_code(&A, stamp(2));
        assert!(!back(2, LATER), "its time is over");
        assert!(!back(3, NOW), "it is another one");
        assert!(back(2, NOW) && code_seen(&store, A) == Some(2));
        store.take_code(&A, stamp(2));
        store.set_code(&A, &code(3, LATER), NOW);
        assert!(!back(2, NOW));
        store.take_code(&A, stamp(3));
        assert!(!back(2, NOW), "another one was there since");
        store.remove(&A);
        assert!(!back(3, NOW) && store.len() == 0);
    }

    #[test]
    fn a_sweep_removes_a_code_that_is_over_and_leaves_its_card() {
        let store = store(1);
        store.insert(card(A, END), NOW).unwrap();
        store.set_code(&A, &code(2, LATER), NOW);
        assert_eq!((store.sweep_part(NOW, 0, 1), code_seen(&store, A)), (0, Some(2)));
        assert_eq!((store.sweep_part(LATER, 0, 1), store.len()), (0, 1));
        let left = store.get(&A, NOW).unwrap();
        assert_eq!(left.code().unwrap(), [[2; 16].as_slice(), &[0; 32]].concat().as_slice());
    }

    #[test]
    fn a_sweep_removes_the_expired_alone() {
        let store = store(10_000);
        for index in 0..2_000u64 {
            let mut name = [0; 16];
            name[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let expires = if index % 2 == 0 { LATER } else { END };
            store.insert(kept(Name(name), 1, expires), NOW).unwrap();
        }
        assert_eq!((store.sweep_part(NOW, 0, 1), store.len()), (0, 2_000));
        assert_eq!((store.sweep_part(LATER, 0, 1), store.len()), (1_000, 1_000));
        assert_eq!((store.sweep_part(END, 0, 1), store.len()), (1_000, 0));
    }

    #[test]
    fn a_hundred_threads_take_one_record_and_one_code_once() {
        let store = store(10);
        store.insert(kept(A, 1, END), NOW).unwrap();
        store.insert(card(B, END), NOW).unwrap();
        store.set_code(&B, &code(2, END), NOW);
        let take = || {
            let record = usize::from(store.take_if(&A, stamp(1)).is_some());
            (record, usize::from(store.take_code(&B, stamp(2))))
        };
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..100).map(|_| scope.spawn(take)).collect();
            let taken = takers.into_iter().map(|taker| taker.join().unwrap());
            taken.fold((0, 0), |sum, taken| (sum.0 + taken.0, sum.1 + taken.1))
        });
        assert_eq!((taken, store.len()), ((1, 1), 1));
    }

    #[test]
    fn many_threads_never_pass_the_bound() {
        let store = store(50);
        let kept_count = std::thread::scope(|scope| {
            let keepers: Vec<_> = (0..8u8)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        let try_keep = |index: u8| {
                            let mut name = [index; 16];
                            name[0] = thread;
                            store.insert(kept(Name(name), 1, END), NOW).is_ok()
                        };
                        (0..100).filter(|index| try_keep(*index)).count()
                    })
                })
                .collect();
            keepers.into_iter().map(|keeper| keeper.join().unwrap()).sum::<usize>()
        });
        assert_eq!((kept_count, store.len()), (50, 50));
    }
}
