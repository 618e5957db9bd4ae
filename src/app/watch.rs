//! Files that others replace while we serve. They are looked at, not waited for: a look every other
//! second costs nothing, and sees a file that was renamed over another, a link that leads elsewhere
//! (as Kubernetes replaces mounted secrets) and a network's folder alike.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// What tells one version of a file from another without reading it; none where there is no file.
type Stamp = Option<[i64; 7]>;

/// A group of files that belong together, such as a certificate and its key.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tried: Option<Vec<Stamp>>,
    changing: Option<Vec<Stamp>>,
}

impl Watch {
    /// Whether the files are others than when this last said so, and the same as at the look
    /// before: whoever replaces several of them is given time to end.
    pub(super) fn look(&mut self, files: &[PathBuf]) -> bool {
        self.saw(files.iter().map(stamp).collect())
    }

    fn saw(&mut self, now: Vec<Stamp>) -> bool {
        let before = self.changing.take();
        if self.tried.as_ref() == Some(&now) {
            return false;
        }
        if before.as_ref() == Some(&now) {
            self.tried = Some(now);
            return true;
        }
        self.changing = Some(now);
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
        let mut watch = Watch::default();
        let [old, half, new] = [[1, 1], [1, 2], [2, 2]].map(|pair| pair.map(|of| Some([of; 7])));
        let looks = [(old, false), (old, true), (old, false), (half, false), (new, false)];
        for (index, (seen, says)) in
            looks.into_iter().chain([(new, true), (new, false)]).enumerate()
        {
            assert_eq!(watch.saw(seen.to_vec()), says, "at look {index}");
        }
        // There and back again within a look or two is no change.
        assert!(!watch.saw(half.to_vec()) && !watch.saw(new.to_vec()) && !watch.saw(new.to_vec()));
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
        let mut watch = Watch::default();
        assert!(!watch.look(&link) && watch.look(&link) && !watch.look(&link));
        std::os::unix::fs::symlink("two", at("fresh")).unwrap();
        std::fs::rename(at("fresh"), at("link")).unwrap();
        assert!(!watch.look(&link) && watch.look(&link) && !watch.look(&link));
        std::fs::rename(at("three"), at("two")).unwrap();
        assert!(!watch.look(&link) && watch.look(&link) && !watch.look(&link));
        std::fs::remove_file(at("two")).unwrap();
        assert!(!watch.look(&link) && watch.look(&link), "one that is gone is a change, too");
    }
}
