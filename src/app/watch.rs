//! Files that others replace while we serve. They are looked at, not waited for: a look every other
//! second costs nothing, and sees a file that was renamed over another, a link that leads elsewhere
//! (as Kubernetes replaces mounted secrets) and a network's folder alike.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::proxy::tls::TlsError;

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// After which files that were refused are tried again as they are: a certificate may become valid,
/// a descriptor free.
const AGAIN: Duration = Duration::from_secs(15);

/// What tells one version of a file from another without reading it; none where there is no file.
type Stamp = Option<[i64; 7]>;

/// A group of files that belong together, such as a certificate and its key.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tried: Option<Vec<Stamp>>,
    changing: Option<Vec<Stamp>>,
    /// Why the files as they are were refused, and when.
    refused: Option<(TlsError, Instant)>,
}

impl Watch {
    /// Whether to try the files: they are others than when this last said so, and the same as at
    /// the look before (whoever replaces several of them is given time to end); or they were
    /// refused a while ago.
    pub(super) fn look(&mut self, files: &[PathBuf], now: Instant) -> bool {
        self.saw(files.iter().map(stamp).collect(), now)
    }

    /// The files were refused; whether that is news.
    pub(super) fn refused(&mut self, error: TlsError, now: Instant) -> bool {
        let known = self.refused.replace((error, now));
        known.is_none_or(|(known, _)| known != error)
    }

    /// The files are in use.
    pub(super) fn taken(&mut self) {
        self.refused = None;
    }

    fn saw(&mut self, seen: Vec<Stamp>, now: Instant) -> bool {
        let before = self.changing.take();
        if self.tried.as_ref() == Some(&seen) {
            return self.refused.is_some_and(|(_, at)| now.duration_since(at) >= AGAIN);
        }
        if before.as_ref() == Some(&seen) {
            self.tried = Some(seen);
            self.refused = None;
            return true;
        }
        self.changing = Some(seen);
        false
    }
}

fn stamp(file: &PathBuf) -> Stamp {
    let about = std::fs::metadata(file).ok()?;
    let [device, inode, size] =
        [about.dev(), about.ino(), about.size()].map(|number| number.cast_signed());
    let [modified, changed] =
        [(about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec())];
    Some([device, inode, size, modified.0, modified.1, changed.0, changed.1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_still_being_replaced_are_left_alone() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let [old, half, new] = [[1, 1], [1, 2], [2, 2]].map(|pair| pair.map(|of| Some([of; 7])));
        let looks = [(old, false), (old, true), (old, false), (half, false), (new, false)];
        for (index, (seen, says)) in
            looks.into_iter().chain([(new, true), (new, false)]).enumerate()
        {
            assert_eq!(watch.saw(seen.to_vec(), now), says, "at look {index}");
        }
        // There and back again within a look or two is no change.
        assert!(![half, new, new].into_iter().any(|seen| watch.saw(seen.to_vec(), now)));
    }

    #[test]
    fn a_file_renamed_over_another_and_a_link_that_leads_elsewhere_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two", "three"] {
            std::fs::write(at(name), "same").unwrap();
        }
        std::os::unix::fs::symlink("one", at("link")).unwrap();
        let link = vec![at("link")];
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(!watch.look(&link, now) && watch.look(&link, now) && !watch.look(&link, now));
        std::os::unix::fs::symlink("two", at("fresh")).unwrap();
        std::fs::rename(at("fresh"), at("link")).unwrap();
        assert!(!watch.look(&link, now) && watch.look(&link, now) && !watch.look(&link, now));
        std::fs::rename(at("three"), at("two")).unwrap();
        assert!(!watch.look(&link, now) && watch.look(&link, now) && !watch.look(&link, now));
        std::fs::remove_file(at("two")).unwrap();
        assert!(
            !watch.look(&link, now) && watch.look(&link, now),
            "one that is gone is a change, too"
        );
    }

    #[test]
    fn files_that_were_refused_are_tried_again_later_and_the_same_reason_is_no_news() {
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let files = || vec![Some([1; 7])];
        assert!(!watch.saw(files(), begun) && watch.saw(files(), begun));
        assert!(watch.refused(TlsError::Time, begun));
        let soon = begun + AGAIN - Duration::from_millis(1);
        assert!(!watch.saw(files(), soon) && watch.saw(files(), begun + AGAIN));
        assert!(!watch.refused(TlsError::Time, begun + AGAIN));
        assert!(!watch.saw(files(), begun + AGAIN) && watch.saw(files(), begun + 2 * AGAIN));
        assert!(watch.refused(TlsError::Certificate, begun + 2 * AGAIN));
        // Other files with the same fault are news.
        let others = || vec![Some([2; 7])];
        assert!(!watch.saw(others(), begun) && watch.saw(others(), begun));
        assert!(watch.refused(TlsError::Certificate, begun));
        watch.taken();
        assert!(!watch.saw(others(), begun + 9 * AGAIN), "what is in use is not tried again");
    }
}
