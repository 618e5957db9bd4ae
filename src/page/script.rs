//! What a shop's page loads from us: a script that never changes once it is released. A change gets
//! the next number, and the old one stays, because shops pin its digest (Subresource Integrity).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha384};

/// A script with its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Its path on the public listener.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// For `<script>`, and the same as an ES module.
pub const SCRIPTS: [Script; 2] = [
    Script { path: "/v1/portcullis-1.js", text: include_str!("portcullis.js") },
    Script {
        path: "/v1/portcullis-1.mjs",
        text: concat!(include_str!("portcullis.js"), include_str!("export.js")),
    },
];

impl Script {
    /// The script at this path.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        SCRIPTS.into_iter().find(|script| script.path == path)
    }

    /// What an `integrity` attribute says.
    #[must_use]
    pub fn integrity(self) -> String {
        format!("sha384-{}", STANDARD.encode(Sha384::digest(self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_pin_the_script_that_is_served() {
        let papers = [include_str!("../../README.md"), include_str!("../../docs/browser.md")];
        for script in SCRIPTS {
            let integrity = script.integrity();
            let pinned = papers[1].contains(&integrity) && papers[1].contains(script.path);
            assert!(pinned, "docs/browser.md: {} is {integrity}", script.path);
        }
        let classic = SCRIPTS[0].integrity();
        assert!(papers[0].contains(&classic), "README.md: {} is {classic}", SCRIPTS[0].path);
    }

    #[test]
    fn the_module_is_the_script_and_its_exports() {
        let module = SCRIPTS[1].text.strip_prefix(SCRIPTS[0].text);
        assert!(module.is_some_and(|rest| rest.starts_with("export ")));
        assert!(SCRIPTS.iter().all(|script| script.text.len() < 6_000));
    }
}
