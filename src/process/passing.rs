//! Sockets that go from one process to the next, over a local socket that no other user reaches.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;

/// Most descriptors of one message.
pub const DESCRIPTORS_MAX: usize = 8;

const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Why a local socket cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalError {
    /// Its folder is not there, or not this user's alone (mode 0700).
    Folder,
    /// Something else is in its place.
    Occupied,
    /// A process answers there.
    InUse,
    /// The other process is another user's.
    Stranger,
    /// The system refuses, in its own words.
    Io(String),
}

impl From<io::Error> for LocalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Listens at `path`, in place of a socket that nobody listens at any more.
///
/// # Errors
/// The folder is open to others, the place is taken, or the system refuses.
pub fn listen(path: &Path) -> Result<UnixListener, LocalError> {
    own_folder(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(LocalError::Occupied),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(LocalError::InUse),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            Err(error) => return Err(error.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(UnixListener::bind(path)?)
}

/// Connects to whoever of this user listens at `path`; nothing when nobody does.
///
/// # Errors
/// The folder is open to others, the listener is a stranger, or the system refuses.
pub fn connect(path: &Path) -> Result<Option<UnixStream>, LocalError> {
    own_folder(path)?;
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error.into()),
            };
        }
    };
    if is_of_this_user(&stream)? { Ok(Some(stream)) } else { Err(LocalError::Stranger) }
}

/// Whether the process at the other end is of the same user.
///
/// # Errors
/// The kernel does not tell.
pub fn is_of_this_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(socket_peercred(stream)?.uid == geteuid())
}

/// Whoever may write into the folder may put a socket of their own there.
fn own_folder(path: &Path) -> Result<(), LocalError> {
    let folder = match path.parent().ok_or(LocalError::Folder)? {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let about = fs::symlink_metadata(folder).map_err(|_| LocalError::Folder)?;
    let own = about.uid() == geteuid().as_raw() && about.mode() & 0o777 == 0o700;
    if about.is_dir() && own { Ok(()) } else { Err(LocalError::Folder) }
}

/// Sends descriptors, with one byte that says how many.
///
/// # Errors
/// More than [`DESCRIPTORS_MAX`], or the system refuses.
pub fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let count = u8::try_from(descriptors.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(stream.as_fd(), &[IoSlice::new(&[count])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send_descriptors`] sent. Nothing of it outlives an error, and no program that
/// this process might start would have it.
///
/// # Errors
/// The system refuses, the other side is gone, or fewer came than were told.
pub fn receive_descriptors(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    let parts = &mut [IoSliceMut::new(&mut count)];
    // A wait with an end is not taken up again after a signal, whatever its handler says.
    let receive = || recvmsg(stream.as_fd(), parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    let received = retry_on_intr(receive)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            descriptors.extend(given);
        }
    }
    if received.bytes != 1 || descriptors.len() != usize::from(count[0]) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::Signal;
    use rustix::process::Uid;
    use rustix::thread::set_thread_res_uid;
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    /// What a thread that is another user's does; nothing where the system lets nobody be that.
    fn by_a_stranger<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let nobody = Uid::from_raw(65_534);
        let stranger = move || {
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
            work()
        };
        geteuid().is_root().then(|| thread::spawn(stranger).join().unwrap())
    }

    #[test]
    fn a_process_of_another_user_is_a_stranger_at_either_end() {
        let folder = folder(0o777);
        let path = folder.path().join("socket");
        let (own, _other) = UnixStream::pair().unwrap();
        assert!(is_of_this_user(&own).unwrap());
        let at = path.clone();
        let made = by_a_stranger(|| (UnixListener::bind(at).unwrap(), UnixStream::pair().unwrap()));
        let Some((_listener, (stream, _other))) = made else { return };
        assert!(!is_of_this_user(&stream).unwrap());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(connect(&path).unwrap_err(), LocalError::Stranger);
    }

    #[test]
    fn a_listening_socket_goes_over_with_the_connections_that_wait_at_it() {
        let (giver, taker) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(address).unwrap();
        send_descriptors(&giver, &[listener.as_fd()]).unwrap();
        drop(listener);
        let given = receive_descriptors(&taker).unwrap().pop().unwrap();
        let given = TcpListener::from(given);
        assert_eq!(given.local_addr().unwrap(), address);
        assert_eq!(given.accept().unwrap().1, waiting.local_addr().unwrap());
        send_descriptors(&giver, &[]).unwrap();
        assert!(receive_descriptors(&taker).unwrap().is_empty());
    }

    #[test]
    fn fewer_descriptors_than_told_are_an_error() {
        let (mut giver, taker) = UnixStream::pair().unwrap();
        giver.write_all(&[2]).unwrap();
        assert!(receive_descriptors(&taker).is_err());
        drop(giver);
        assert!(receive_descriptors(&taker).is_err());
    }

    #[test]
    fn the_folder_is_this_users_alone() {
        for (mode, right) in [(0o700, true), (0o750, false), (0o701, false), (0o777, false)] {
            let folder = folder(mode);
            let path = folder.path().join("upgrade.sock");
            assert_eq!(listen(&path).is_ok(), right, "{mode:o}");
            assert_eq!(connect(&path).is_ok(), right, "{mode:o}");
        }
        let elsewhere = folder(0o700);
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(folder(0o700).path(), &link).unwrap();
        assert!(matches!(listen(&link.join("upgrade.sock")), Err(LocalError::Folder)));
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_replaced_and_no_other_file() {
        let folder = folder(0o700);
        let path = folder.path().join("upgrade.sock");
        let first = listen(&path).unwrap();
        assert!(connect(&path).unwrap().is_some());
        assert!(matches!(listen(&path), Err(LocalError::InUse)));
        drop(first);
        assert!(connect(&path).unwrap().is_none());
        drop(listen(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(connect(&path).unwrap().is_none());
        fs::write(&path, "something else").unwrap();
        assert!(matches!(listen(&path), Err(LocalError::Occupied)));
        assert_eq!(fs::read(&path).unwrap(), b"something else");
    }

    #[tokio::test]
    async fn a_signal_does_not_end_the_wait_for_descriptors() {
        let _handled = signal(SignalKind::user_defined1()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (tell, told) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(pthread_self()).unwrap();
            receive_descriptors(&far)
        });
        let thread = told.recv().unwrap();
        for _ in 0..50 {
            pthread_kill(thread, Signal::SIGUSR1).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        send_descriptors(&near, &[near.as_fd()]).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap().len(), 1);
    }
}
