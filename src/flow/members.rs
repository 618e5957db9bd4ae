//! Members of the bodies that our own calls take. None is passed over: what is misspelt would
//! otherwise leave a default in force that nobody wished for.

use crate::wire::Value;

use super::Refusal;

/// Refuses the object at `at` (a JSON pointer; empty for the whole body) when it has a member that
/// is not `known`. What that one is called is input, and not repeated.
pub(super) fn only(
    object: Value<'_>,
    at: &'static str,
    known: &'static [&'static str],
) -> Result<(), Refusal> {
    let is_known = |key: Value<'_>| known.iter().any(|name| key.is_text(name));
    match object.members().all(|(key, _)| is_known(key)) {
        true => Ok(()),
        false => Err(Refusal::MemberUnknown { at, known }),
    }
}
