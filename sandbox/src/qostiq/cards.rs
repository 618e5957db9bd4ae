//! Qostiq publishes no test cards: these are public test numbers with a meaning given here.

use crate::testcard::{TestCard, Way};

/// No 3-D Secure, paid; the number of the provider's own sample.
pub const PLAIN: &str = "4111111111111111";
/// 3-D Secure, paid.
pub const CHALLENGED: &str = "5555555555554444";
/// No 3-D Secure, declined.
pub const DECLINED: &str = "4000056655665556";
/// 3-D Secure, declined.
pub const CHALLENGED_DECLINED: &str = "5105105105105100";

/// All of them.
pub const CARDS: [TestCard; 4] = [
    TestCard { number: PLAIN, shows: "no 3-D Secure, paid", way: Way::Plain, succeeds: true },
    TestCard { number: CHALLENGED, shows: "3-D Secure, paid", way: Way::Challenge, succeeds: true },
    TestCard { number: DECLINED, shows: "declined", way: Way::Plain, succeeds: false },
    TestCard {
        number: CHALLENGED_DECLINED,
        shows: "3-D Secure, declined",
        way: Way::Challenge,
        succeeds: false,
    },
];
