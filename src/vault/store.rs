//! What a place to keep records must do, whatever it is. It is given names, sealed bytes and
//! lifetimes, and compares and sets by the stamp in front of the sealed bytes.
//!
//! One backend today. The second makes [`Store`] an enum of the two, matched without a wildcard;
//! the contract below is then run over both.

use super::seal::Sealed;
use crate::card::Timestamp;

/// The backend in use.
pub(super) type Store = super::memory::MemoryStore;

/// A sealed record and the end of its life.
pub(super) struct Kept {
    pub(super) sealed: Sealed,
    pub(super) expires: Timestamp,
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
    use super::super::seal::{Name, Stamp};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const LATER: Timestamp = Timestamp::from_secs(2_000);
    const END: Timestamp = Timestamp::from_secs(3_000);

    fn kept(stamp: u8, expires: Timestamp) -> Kept {
        let bytes = [[stamp; 16].as_slice(), b"sealed"].concat();
        Kept { sealed: Sealed::from_bytes(&bytes), expires }
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
        let store = Store::new(10);
        store.insert(A, kept(1, LATER), NOW).unwrap();
        assert_eq!(seen(&store, A, NOW), Some(1));
        assert_eq!(seen(&store, B, NOW), None);
        assert_eq!(seen(&store, A, Timestamp::from_millis(LATER.as_millis() - 1)), Some(1));
        assert_eq!(seen(&store, A, LATER), None);
        assert!(store.contains(&A, NOW) && !store.contains(&A, LATER));
    }

    #[test]
    fn a_live_name_is_not_inserted_twice_and_an_expired_one_is() {
        let store = Store::new(10);
        store.insert(A, kept(1, LATER), NOW).unwrap();
        assert_eq!(store.insert(A, kept(2, END), NOW), Err(Refused::Taken));
        assert_eq!(seen(&store, A, NOW), Some(1));
        store.insert(A, kept(3, END), LATER).unwrap();
        assert_eq!((seen(&store, A, LATER), store.len()), (Some(3), 1));
    }

    #[test]
    fn a_full_store_refuses_and_keeps_what_it_has() {
        let store = Store::new(2);
        store.insert(A, kept(1, END), NOW).unwrap();
        store.put(B, kept(2, END)).unwrap();
        assert_eq!(store.insert(C, kept(3, END), NOW), Err(Refused::Full));
        assert_eq!(store.put(C, kept(3, END)), Err(Refused::Full));
        assert_eq!(store.len(), 2);
        store.put(A, kept(4, END)).unwrap();
        assert_eq!(
            (seen(&store, A, NOW), seen(&store, B, NOW), store.len()),
            (Some(4), Some(2), 2)
        );
        assert!(store.remove(&A));
        store.insert(C, kept(3, END), NOW).unwrap();
    }

    #[test]
    fn compare_and_set_asks_for_the_stamp_it_saw() {
        let store = Store::new(10);
        store.insert(A, kept(1, END), NOW).unwrap();
        assert!(!store.replace_if(&A, stamp(9), kept(2, END)));
        assert!(!store.replace_if(&B, stamp(1), kept(2, END)));
        assert!(store.replace_if(&A, stamp(1), kept(2, END)));
        assert!(!store.replace_if(&A, stamp(1), kept(3, END)));
        assert_eq!((seen(&store, A, NOW), store.len()), (Some(2), 1));
    }

    #[test]
    fn taking_asks_for_the_stamp_and_happens_once() {
        let store = Store::new(10);
        store.insert(A, kept(1, END), NOW).unwrap();
        assert!(store.take_if(&A, stamp(2)).is_none());
        let taken = store.take_if(&A, stamp(1)).unwrap();
        assert_eq!((taken.sealed.stamp(), taken.expires), (stamp(1), END));
        assert!(store.take_if(&A, stamp(1)).is_none());
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn what_was_taken_goes_back_only_to_a_free_name() {
        let store = Store::new(1);
        store.insert(A, kept(1, END), NOW).unwrap();
        assert!(!store.put_back(A, kept(2, END), NOW));
        let taken = store.take_if(&A, stamp(1)).unwrap();
        store.insert(B, kept(3, END), NOW).unwrap();
        assert!(store.put_back(A, taken, NOW), "room was taken meanwhile: goes back all the same");
        assert_eq!((seen(&store, A, NOW), store.len()), (Some(1), 2));
        let expired = store.take_if(&A, stamp(1)).unwrap();
        assert!(!store.put_back(A, expired, END));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_sweep_removes_the_expired_alone() {
        let store = Store::new(10_000);
        for index in 0..2_000u64 {
            let mut name = [0; 16];
            name[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let expires = if index % 2 == 0 { LATER } else { END };
            store.insert(Name(name), kept(1, expires), NOW).unwrap();
        }
        assert_eq!((store.sweep(NOW), store.len()), (0, 2_000));
        assert_eq!((store.sweep(LATER), store.len()), (1_000, 1_000));
        assert_eq!((store.sweep(END), store.len()), (1_000, 0));
    }

    #[test]
    fn a_hundred_threads_take_one_record_once() {
        let store = Store::new(10);
        store.insert(A, kept(1, END), NOW).unwrap();
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..100)
                .map(|_| scope.spawn(|| usize::from(store.take_if(&A, stamp(1)).is_some())))
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum::<usize>()
        });
        assert_eq!((taken, store.len()), (1, 0));
    }

    #[test]
    fn many_threads_never_pass_the_bound() {
        let store = Store::new(50);
        let kept_count = std::thread::scope(|scope| {
            let keepers: Vec<_> = (0..8u8)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        let try_keep = |index: u8| {
                            let mut name = [index; 16];
                            name[0] = thread;
                            store.insert(Name(name), kept(1, END), NOW).is_ok()
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
