//! Payments under way by the provider's own key: of any number of callers one is first, until it
//! gives the payment back, or for a day where nobody knows what became of it. A payment that may be
//! known by two names is taken by both.

use std::fmt;
use std::time::Duration;

use super::sealed::Name;
use super::{Vault, VaultError};
use crate::card::Timestamp;

/// As long as an `Idempotency-Key`: longer than it takes to find out what became of a payment.
const LIFE: Duration = Duration::from_secs(86_400);

const UNDER_WAY: u8 = 1;
const UNKNOWN: u8 = 2;

/// What a payment is called here: a keyed hash.
#[derive(Clone, Copy)]
pub struct PaymentName(Name);

impl fmt::Debug for PaymentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentName(..)")
    }
}

/// The right to say what became of a payment. Losing it leaves the payment under way for its day.
pub struct Payment {
    name: PaymentName,
    other: Option<PaymentName>,
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payment(..)")
    }
}

/// What is known of a payment.
#[derive(Debug)]
pub enum Guarded {
    /// Nothing is under way: this caller makes it.
    First(Payment),
    /// It is being made.
    UnderWay,
    /// It may have been made.
    Unknown,
}

impl Vault {
    /// The name of the payment of this key, which names the account, too. Only that is kept, among
    /// the marks.
    pub fn payment_name(&self, key: &[u8]) -> PaymentName {
        PaymentName(self.mark_name("payment", key))
    }

    /// Claims the payment of this name, and of the other one where it has two: whoever claims it by
    /// either is the first, or nobody.
    ///
    /// # Errors
    /// No room. Nothing is claimed then.
    pub fn claim_payment(
        &self,
        name: PaymentName,
        other: Option<PaymentName>,
        now: Timestamp,
    ) -> Result<Guarded, VaultError> {
        if let Some(taken) = self.take_name(name, now)? {
            return Ok(taken);
        }
        let taken = other.map_or(Ok(None), |other| self.take_name(other, now));
        if !matches!(taken, Ok(None)) {
            self.marks.remove(&name.0);
        }
        Ok(taken?.unwrap_or(Guarded::First(Payment { name, other })))
    }

    /// What whoever claims this payment would be told; nothing is claimed.
    pub fn look_payment(
        &self,
        name: PaymentName,
        other: Option<PaymentName>,
        now: Timestamp,
    ) -> Guarded {
        let seen = self.seen_by(name, now).or_else(|| self.seen_by(other?, now));
        seen.unwrap_or(Guarded::First(Payment { name, other }))
    }

    /// What is known of a payment whose name is taken; nothing where it is ours now.
    fn take_name(&self, name: PaymentName, now: Timestamp) -> Result<Option<Guarded>, VaultError> {
        loop {
            if self.set_state_if_free(name.0, UNDER_WAY, now.plus(LIFE), now)? {
                return Ok(None);
            }
            // One that is not there any more has ended meanwhile.
            if let Some(seen) = self.seen_by(name, now) {
                return Ok(Some(seen));
            }
        }
    }

    fn seen_by(&self, name: PaymentName, now: Timestamp) -> Option<Guarded> {
        let state = self.state(name.0, now)?;
        Some(if state == UNKNOWN { Guarded::Unknown } else { Guarded::UnderWay })
    }

    /// Nothing was sent, or the provider answered: the next caller is first.
    pub fn release_payment(&self, payment: &Payment) {
        for name in payment.names() {
            self.marks.remove(&name.0);
        }
    }

    /// It may have been made, and nobody knows what became of it.
    pub fn lose_payment(&self, payment: &Payment, now: Timestamp) {
        for name in payment.names() {
            // It takes the place of the claim; where that is gone and no room, nothing can be said.
            let _ = self.set_state(name.0, UNKNOWN, now.plus(LIFE));
        }
    }
}

impl Payment {
    fn names(&self) -> impl Iterator<Item = PaymentName> {
        [Some(self.name), self.other].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keyring, Limits};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const KEY: &[u8] = b"order-1";

    /// By one name.
    fn claim(vault: &Vault, key: &[u8], now: Timestamp) -> Result<Guarded, VaultError> {
        vault.claim_payment(vault.payment_name(key), None, now)
    }

    /// By two.
    fn claim_both(vault: &Vault, keys: [&[u8]; 2]) -> Result<Guarded, VaultError> {
        let [name, other] = keys.map(|key| vault.payment_name(key));
        vault.claim_payment(name, Some(other), NOW)
    }

    fn look(vault: &Vault) -> Guarded {
        vault.look_payment(vault.payment_name(KEY), None, NOW)
    }

    fn vault() -> Vault {
        Vault::new(Keyring::random(), Limits::default())
    }

    fn first(vault: &Vault) -> Payment {
        match claim(vault, KEY, NOW).unwrap() {
            Guarded::First(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payment_under_way_is_nobody_elses_until_it_is_given_back() {
        let vault = vault();
        assert!(matches!(look(&vault), Guarded::First(_)));
        let payment = first(&vault);
        assert!(matches!(look(&vault), Guarded::UnderWay));
        assert!(matches!(claim(&vault, KEY, NOW), Ok(Guarded::UnderWay)));
        assert!(matches!(claim(&vault, b"order-2", NOW), Ok(Guarded::First(_))));
        vault.release_payment(&payment);
        first(&vault);
    }

    #[test]
    fn what_nobody_knows_stays_so_for_a_day() {
        let vault = vault();
        vault.lose_payment(&first(&vault), NOW);
        let late = NOW.plus(LIFE - Duration::from_secs(1));
        assert!(matches!(claim(&vault, KEY, late), Ok(Guarded::Unknown)));
        assert!(matches!(claim(&vault, KEY, NOW.plus(LIFE)), Ok(Guarded::First(_))));
    }

    #[test]
    fn a_payment_of_two_names_is_taken_by_either_until_it_is_given_back() {
        const ID: &[u8] = b"id-1";
        let vault = vault();
        let taken = |key: &[u8]| {
            let seen =
                vault.look_payment(vault.payment_name(b"new"), Some(vault.payment_name(key)), NOW);
            let told = claim(&vault, key, NOW).unwrap();
            assert_eq!(format!("{seen:?}"), format!("{told:?}"));
            format!("{told:?}")
        };
        let Ok(Guarded::First(payment)) = claim_both(&vault, [KEY, ID]) else { panic!() };
        for key in [KEY, ID] {
            assert_eq!(taken(key), "UnderWay");
            assert!(matches!(claim_both(&vault, [b"new", key]), Ok(Guarded::UnderWay)));
            assert!(matches!(claim_both(&vault, [key, b"new"]), Ok(Guarded::UnderWay)));
        }
        vault.lose_payment(&payment, NOW);
        assert_eq!([taken(KEY), taken(ID)], ["Unknown", "Unknown"]);
        // Whoever was refused by one name holds none by the other.
        let Ok(Guarded::First(new)) = claim(&vault, b"new", NOW) else { panic!() };
        vault.release_payment(&new);
        vault.release_payment(&payment);
        assert!(vault.is_empty());
    }

    #[test]
    fn where_there_is_room_for_one_name_of_two_nothing_is_claimed() {
        let vault = Vault::new(Keyring::random(), Limits { marks: 1, ..Limits::default() });
        assert_eq!(claim_both(&vault, [KEY, b"id-1"]).err(), Some(VaultError::Full));
        assert!(matches!(claim(&vault, b"other", NOW), Ok(Guarded::First(_))));
    }

    #[test]
    fn payments_take_the_room_of_marks_and_no_more() {
        let vault = Vault::new(Keyring::random(), Limits { marks: 1, ..Limits::default() });
        let payment = first(&vault);
        assert_eq!(claim(&vault, b"order-2", NOW).err(), Some(VaultError::Full));
        vault.lose_payment(&payment, NOW);
        assert!(matches!(claim(&vault, KEY, NOW), Ok(Guarded::Unknown)));
        assert_eq!(vault.len(), 1);
    }

    #[test]
    fn of_a_hundred_callers_one_makes_the_payment() {
        let vault = vault();
        let count = std::thread::scope(|scope| {
            let claim = || matches!(claim(&vault, KEY, NOW), Ok(Guarded::First(_)));
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(count, 1);
    }
}
