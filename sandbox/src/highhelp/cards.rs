//! HighHelp publishes no test cards: these are public test numbers with a meaning given here.

use crate::testcard::{TestCard, Way};

/// No 3-D Secure, paid.
pub const PLAIN: &str = "4242424242424242";
/// 3-D Secure by `acs_info`, paid.
pub const CHALLENGED: &str = "5200828282828210";
/// 3-D Secure by `redirect_info`, paid.
pub const REDIRECTED: &str = "4012888888881881";
/// A code instead of a page, paid.
pub const CODE: &str = "2200000000000004";
/// Declined.
pub const DECLINED: &str = "4000000000003220";
/// 3-D Secure by `acs_info`, declined.
pub const CHALLENGED_DECLINED: &str = "2223003122003222";
/// A dispute until it is settled by hand.
pub const DISPUTED: &str = "6011111111111117";

/// All of them.
pub const CARDS: [TestCard; 7] = [
    card(PLAIN, "no 3-D Secure, paid", Way::Plain, true),
    card(CHALLENGED, "3-D Secure by form, paid", Way::Challenge, true),
    card(REDIRECTED, "3-D Secure by redirect, paid", Way::Redirect, true),
    card(CODE, "a code instead of a page, paid", Way::Code, true),
    card(DECLINED, "declined", Way::Plain, false),
    card(CHALLENGED_DECLINED, "3-D Secure by form, declined", Way::Challenge, false),
    card(DISPUTED, "disputed", Way::Dispute, true),
];

const fn card(number: &'static str, shows: &'static str, way: Way, succeeds: bool) -> TestCard {
    TestCard { number, shows, way, succeeds }
}
