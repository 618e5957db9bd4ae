//! How long a provider's bearer token lives, when it says so itself.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::card::Timestamp;
use crate::wire::parse;

/// No token is kept longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The life left by the `exp` claim of a JWT (RFC 7519 section 4.1.4), when one is readable.
pub(super) fn life(token: &str, now: Timestamp) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let claims = parse(&claims).ok()?;
    let (_, value) = claims.root().members().find(|(key, _)| key.is_text("exp"))?;
    let expires: u64 = std::str::from_utf8(value.raw()).ok()?.parse().ok()?;
    let left = Duration::from_secs(expires.checked_sub(now.as_secs())?);
    Some(left.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("eyJ0eXAiOiJKV1QifQ.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_readable_expiry_bounds_the_life() {
        let now = Timestamp::from_secs(1000);
        let seconds = |claims: &str| life(&jwt(claims), now).map(|life| life.as_secs());
        assert_eq!(seconds(r#"{"exp":1600}"#), Some(600));
        assert_eq!(seconds(r#"{"exp":99999999999}"#), Some(24 * 60 * 60));
        assert_eq!(seconds(r#"{"exp":999}"#), None);
        assert_eq!(seconds(r#"{"exp":"soon"}"#), None);
        assert_eq!(seconds("{}"), None);
        assert_eq!(life("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzUxMiJ9...fGbuc", now), None);
    }
}
