//! Payments under way by the provider's own key: of any number of callers one is first, until it
//! gives the payment back, or for a day where nobody knows what became of it.

use std::fmt;
use std::time::Duration;

use super::sealed::Name;
use super::{Vault, VaultError};
use crate::card::Timestamp;

/// As long as an `Idempotency-Key`: longer than it takes to find out what became of a payment.
const LIFE: Duration = Duration::from_secs(86_400);

const UNDER_WAY: u8 = 1;
const UNKNOWN: u8 = 2;

/// The right to say what became of a payment. Losing it leaves the payment under way for its day.
pub struct Payment(Name);

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
    /// Claims the payment of this key, which names the account, too. Only its keyed hash is kept,
    /// among the marks.
    ///
    /// # Errors
    /// No room.
    pub fn claim_payment(&self, key: &[u8], now: Timestamp) -> Result<Guarded, VaultError> {
        let payment = self.payment(key);
        loop {
            if self.set_state_if_free(payment.0, UNDER_WAY, now.plus(LIFE), now)? {
                return Ok(Guarded::First(payment));
            }
            // One that is not there any more has ended meanwhile.
            if let Some(seen) = self.seen_payment(&payment, now) {
                return Ok(seen);
            }
        }
    }

    /// What whoever claims this key would be told; nothing is claimed.
    pub fn look_payment(&self, key: &[u8], now: Timestamp) -> Guarded {
        let payment = self.payment(key);
        self.seen_payment(&payment, now).unwrap_or(Guarded::First(payment))
    }

    fn payment(&self, key: &[u8]) -> Payment {
        Payment(self.mark_name("payment", key))
    }

    fn seen_payment(&self, payment: &Payment, now: Timestamp) -> Option<Guarded> {
        let state = self.state(payment.0, now)?;
        Some(if state == UNKNOWN { Guarded::Unknown } else { Guarded::UnderWay })
    }

    /// Nothing was sent, or the provider answered: the next caller is first.
    pub fn release_payment(&self, payment: &Payment) {
        self.marks.remove(&payment.0);
    }

    /// It may have been made, and nobody knows what became of it.
    pub fn lose_payment(&self, payment: &Payment, now: Timestamp) {
        // It takes the place of the claim; where that is gone and no room, nothing can be said.
        let _ = self.set_state(payment.0, UNKNOWN, now.plus(LIFE));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keyring, Limits};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const KEY: &[u8] = b"order-1";

    fn vault() -> Vault {
        Vault::new(Keyring::random(), Limits::default())
    }

    fn first(vault: &Vault) -> Payment {
        match vault.claim_payment(KEY, NOW).unwrap() {
            Guarded::First(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payment_under_way_is_nobody_elses_until_it_is_given_back() {
        let vault = vault();
        assert!(matches!(vault.look_payment(KEY, NOW), Guarded::First(_)));
        let payment = first(&vault);
        assert!(matches!(vault.look_payment(KEY, NOW), Guarded::UnderWay));
        assert!(matches!(vault.claim_payment(KEY, NOW), Ok(Guarded::UnderWay)));
        assert!(matches!(vault.claim_payment(b"order-2", NOW), Ok(Guarded::First(_))));
        vault.release_payment(&payment);
        first(&vault);
    }

    #[test]
    fn what_nobody_knows_stays_so_for_a_day() {
        let vault = vault();
        vault.lose_payment(&first(&vault), NOW);
        let late = NOW.plus(LIFE - Duration::from_secs(1));
        assert!(matches!(vault.claim_payment(KEY, late), Ok(Guarded::Unknown)));
        assert!(matches!(vault.claim_payment(KEY, NOW.plus(LIFE)), Ok(Guarded::First(_))));
    }

    #[test]
    fn payments_take_the_room_of_marks_and_no_more() {
        let vault = Vault::new(Keyring::random(), Limits { marks: 1, ..Limits::default() });
        let payment = first(&vault);
        assert_eq!(vault.claim_payment(b"order-2", NOW).err(), Some(VaultError::Full));
        vault.lose_payment(&payment, NOW);
        assert!(matches!(vault.claim_payment(KEY, NOW), Ok(Guarded::Unknown)));
        assert_eq!(vault.len(), 1);
    }

    #[test]
    fn of_a_hundred_callers_one_makes_the_payment() {
        let vault = vault();
        let count = std::thread::scope(|scope| {
            let claim = || matches!(vault.claim_payment(KEY, NOW), Ok(Guarded::First(_)));
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(count, 1);
    }
}
