//! The disk's steps, each against what it leaves in a real directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tallac_core::disk::{DiskError, DiskFailure, DiskOutput, DiskResult, DiskStep, StorePath};
use tallac_core::payload::{Payload, Synthetic};
use tallac_core::storage_index::StorageIndex;
use tallac_host::{Disk, DiskOptions};
use tempfile::TempDir;

const INDEX: StorageIndex = StorageIndex([0x11; 16]);
const INDEX_DIR: &str = "ce/ceirceirceirceirceirceirce";

fn disk() -> (TempDir, Disk) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk::open(dir.path(), DiskOptions::default()).expect("opens");
    (dir, disk)
}

fn write(path: StorePath, offset: u64, data: &[u8]) -> DiskStep {
    DiskStep::Write { path, offset, data: data.to_vec().into() }
}

fn read(path: StorePath, offset: u64, len: u64) -> DiskStep {
    DiskStep::Read { path, offset, len }
}

fn share(number: u16) -> StorePath {
    StorePath::Share(INDEX, number)
}

fn incoming(number: u16) -> StorePath {
    StorePath::Incoming(INDEX, number)
}

fn data(bytes: &[u8]) -> DiskOutput {
    DiskOutput::Data(bytes.to_vec().into())
}

fn failure(step: usize, error: DiskError) -> DiskResult {
    Err(DiskFailure { step, error })
}

fn finish(number: u16) -> Vec<DiskStep> {
    vec![
        DiskStep::Sync(incoming(number)),
        DiskStep::Rename(incoming(number), share(number)),
        DiskStep::SyncName(share(number)),
    ]
}

/// Every file below a directory, and every empty directory.
fn tree(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        let entries: Vec<_> =
            fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")).collect();
        if entries.is_empty() {
            found.push(dir.to_path_buf());
        }
        for entry in entries {
            match entry.file_type().expect("a type").is_dir() {
                true => walk(&entry.path(), found),
                false => found.push(entry.path()),
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    let name = |path: PathBuf| path.strip_prefix(dir).expect("below").display().to_string();
    let mut names: Vec<String> = found.into_iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_share_becomes_whole() {
    let (dir, disk) = disk();
    let steps =
        vec![DiskStep::Create(incoming(3)), write(incoming(3), 12, b"defg"), write(incoming(3), 0, b"abc")];
    assert_eq!(disk.run(steps), Ok(vec![]));
    assert_eq!(tree(dir.path()), [format!("storage/shares/incoming/{INDEX_DIR}/3")]);
    assert_eq!(disk.run(vec![DiskStep::ListShares(INDEX)]), Ok(vec![DiskOutput::Shares(vec![])]));
    assert_eq!(disk.run(finish(3)), Ok(vec![]));
    assert_eq!(
        tree(dir.path()),
        [format!("storage/shares/{INDEX_DIR}/3"), "storage/shares/incoming".to_string()]
    );
    let steps = vec![
        DiskStep::ListShares(INDEX),
        DiskStep::Length(share(3)),
        read(share(3), 1, 3),
        read(share(3), 14, u64::MAX),
        read(share(3), u64::from(u32::MAX), 5),
        read(share(3), 16, 0),
    ];
    let outputs = vec![
        DiskOutput::Shares(vec![3]),
        DiskOutput::Length(16),
        data(b"bc\0"),
        data(b"fg"),
        data(b""),
        data(b""),
    ];
    assert_eq!(disk.run(steps), Ok(outputs));
}

#[test]
fn steps_run_until_one_fails() {
    let (_dir, disk) = disk();
    let steps =
        vec![DiskStep::Create(incoming(1)), DiskStep::Create(incoming(1)), DiskStep::Create(incoming(2))];
    assert_eq!(disk.run(steps), failure(1, DiskError::Exists));
    for step in [
        read(incoming(2), 0, 1),
        write(incoming(2), 0, b"x"),
        DiskStep::Length(share(0)),
        DiskStep::Sync(share(0)),
        DiskStep::Rename(incoming(2), share(2)),
        DiskStep::Truncate(share(0), 1),
    ] {
        assert_eq!(disk.run(vec![step.clone()]), failure(0, DiskError::NotFound), "{step:?}");
    }
    let stand_in = Payload::synthetic(Synthetic { seed: 0, offset: 0, len: 1 });
    let step = DiskStep::Write { path: incoming(1), offset: 0, data: stand_in };
    assert!(matches!(disk.run(vec![step]), Err(DiskFailure { step: 0, error: DiskError::Failed(_) })));
    // Offsets beyond what a file can have are errors, not surprises.
    let far = disk.run(vec![read(incoming(1), u64::MAX - 5, 3)]);
    assert!(matches!(far, Err(DiskFailure { step: 0, error: DiskError::Failed(_) })), "{far:?}");
    // Removing what is not there is done already.
    assert_eq!(disk.run(vec![DiskStep::Remove(share(9)), DiskStep::Remove(incoming(2))]), Ok(vec![]));
}

#[test]
fn files_change_in_place() {
    let (_dir, disk) = disk();
    disk.run(vec![DiskStep::Create(incoming(0)), write(incoming(0), 0, b"abcdef")]).expect("writes");
    disk.run(finish(0)).expect("finishes");
    let steps = vec![
        read(share(0), 0, 9),
        write(share(0), 4, b"EFGH"),
        DiskStep::Sync(share(0)),
        DiskStep::Truncate(share(0), 7),
        read(share(0), 0, 9),
    ];
    assert_eq!(disk.run(steps), Ok(vec![data(b"abcdef"), data(b"abcdEFG")]));
}

#[test]
fn removing_takes_the_empty_directories_along() {
    let (dir, disk) = disk();
    for number in 0..2 {
        disk.run(vec![DiskStep::Create(incoming(number))]).expect("creates");
    }
    disk.run(vec![DiskStep::Remove(incoming(0))]).expect("removes");
    assert_eq!(tree(dir.path()), [format!("storage/shares/incoming/{INDEX_DIR}/1")]);
    disk.run(finish(1)).expect("finishes");
    disk.run(vec![DiskStep::Remove(share(1))]).expect("removes");
    assert_eq!(tree(dir.path()), ["storage/shares/ce", "storage/shares/incoming"]);
    // And what was removed can be made again, durably.
    disk.run(vec![DiskStep::Create(incoming(1))]).expect("creates");
    disk.run(finish(1)).expect("finishes");
}

#[test]
fn the_last_share_of_a_slot_is_removed_durably() {
    let (dir, disk) = disk();
    for number in 0..2 {
        disk.run(vec![DiskStep::Create(share(number)), DiskStep::SyncName(share(number))]).expect("creates");
    }
    for number in 0..2 {
        let steps = vec![DiskStep::Remove(share(number)), DiskStep::SyncName(share(number))];
        assert_eq!(disk.run(steps), Ok(vec![]));
    }
    assert_eq!(tree(dir.path()), ["storage/shares/ce"]);
}

#[test]
fn records_outlive_the_process_and_are_listed() {
    let (dir, disk) = disk();
    let slots = |disk: &Disk| disk.run(vec![DiskStep::ListRedo]);
    assert_eq!(slots(&disk), Ok(vec![DiskOutput::Slots(vec![])]));
    let redo = StorePath::Redo(INDEX);
    let steps = vec![
        DiskStep::Create(redo.clone()),
        write(redo.clone(), 0, b"record"),
        DiskStep::Sync(redo.clone()),
        DiskStep::SyncName(redo.clone()),
    ];
    assert_eq!(disk.run(steps), Ok(vec![]));
    let place = dir.path().join("storage/redo/ceirceirceirceirceirceirce");
    assert_eq!(fs::metadata(&place).expect("it is there").permissions().mode() & 0o777, 0o600);
    fs::write(dir.path().join("storage/redo/lost+found"), b"").expect("writes");
    disk.clean().expect("cleans");
    assert_eq!(slots(&disk), Ok(vec![DiskOutput::Slots(vec![INDEX])]));
    assert_eq!(disk.run(vec![read(redo.clone(), 0, 9)]), Ok(vec![data(b"record")]));
    assert_eq!(disk.run(vec![DiskStep::Remove(redo.clone()), DiskStep::SyncName(redo)]), Ok(vec![]));
    assert_eq!(slots(&disk), Ok(vec![DiskOutput::Slots(vec![])]));
}

#[test]
fn only_canonical_numbers_are_shares() {
    let (dir, disk) = disk();
    let shares = dir.path().join("storage/shares").join(INDEX_DIR);
    fs::create_dir_all(shares.join("7")).expect("a directory named like a share");
    for name in ["0", "255", "256", "01", "+1", "1.tmp", ".2", "x", "65537", "-3", "4 "] {
        fs::write(shares.join(name), b"x").expect("writes");
    }
    fs::write(dir.path().join("secret"), b"secret").expect("writes");
    symlink(dir.path().join("secret"), shares.join("9")).expect("links");
    assert_eq!(disk.run(vec![DiskStep::ListShares(INDEX)]), Ok(vec![DiskOutput::Shares(vec![0, 255])]));
    let followed = disk.run(vec![read(share(9), 0, 10)]);
    assert!(matches!(followed, Err(DiskFailure { error: DiskError::Failed(_), .. })), "{followed:?}");
}

#[test]
fn private_files_are_private() {
    let (dir, disk) = disk();
    let steps = vec![
        DiskStep::Create(StorePath::Spool(5)),
        DiskStep::Replace(StorePath::AnnouncementCache, b"cache".to_vec().into()),
        DiskStep::Replace(StorePath::AnnouncementSequence, b"7\n".to_vec().into()),
        DiskStep::Replace(StorePath::AnnouncementSequence, b"8\n".to_vec().into()),
        DiskStep::Replace(StorePath::Advisory(INDEX, 2, 1), b"report".to_vec().into()),
        read(StorePath::AnnouncementSequence, 0, 100),
    ];
    assert_eq!(disk.run(steps), Ok(vec![data(b"8\n")]));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).expect(name).permissions().mode() & 0o777;
    for (name, expected) in [
        ("spool", 0o700),
        ("spool/5", 0o600),
        ("private", 0o700),
        ("private/introducer_default_cache.yaml", 0o600),
        ("announcement-seqnum", 0o600),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    let advisory = "storage/corruption-advisories/1970-01-01T000000.000001--ceirceirceirceirceirceirce-2";
    let expected = [advisory, "announcement-seqnum", "private/introducer_default_cache.yaml", "spool/5"];
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(tree(dir.path()), expected);
}

#[test]
fn a_new_start_is_clean() {
    let (dir, disk) = disk();
    let steps = vec![
        DiskStep::Create(incoming(0)),
        write(incoming(0), 0, b"old"),
        DiskStep::Create(StorePath::Spool(1)),
        DiskStep::Create(incoming(1)),
    ];
    disk.run(steps).expect("creates");
    disk.run(finish(1)).expect("finishes");
    let keep = ["spool/mine.txt", "announcement-seqnum", ".other.tmp"];
    let drop = [".announcement-seqnum.3.tallac-new", "spool/99"];
    for name in keep.iter().chain(&drop) {
        fs::write(dir.path().join(name), b"x").expect("writes");
    }
    fs::set_permissions(dir.path().join("spool"), fs::Permissions::from_mode(0o755)).expect("changes");
    for disk in [disk, Disk::open(dir.path(), DiskOptions::default()).expect("opens")] {
        disk.clean().expect("cleans");
        let whole = format!("storage/shares/{INDEX_DIR}/1");
        let mut expected = [&keep[..], &[&whole]].concat();
        expected.sort();
        assert_eq!(tree(dir.path()), expected);
        assert_eq!(disk.run(vec![write(incoming(0), 0, b"x")]), failure(0, DiskError::NotFound));
    }
    let mode = fs::metadata(dir.path().join("spool")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let nowhere = Disk::open(dir.path().join("nowhere"), DiskOptions::default());
    assert!(nowhere.is_err());
}

#[test]
fn more_files_than_may_be_open() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk::open(dir.path(), DiskOptions { open_files_max: 3 }).expect("opens");
    for number in 0..20 {
        disk.run(vec![DiskStep::Create(incoming(number))]).expect("creates");
    }
    for round in 0..3u8 {
        for number in 0..20 {
            disk.run(vec![write(incoming(number), u64::from(round), &[round + number as u8])])
                .expect("writes");
        }
    }
    for number in 0..20 {
        disk.run(finish(number)).expect("finishes");
        let expected: Vec<u8> = (0..3).map(|round| round + number as u8).collect();
        assert_eq!(disk.run(vec![read(share(number), 0, 9)]), Ok(vec![data(&expected)]));
    }
}

/// Shares of one file come and go on several threads: the directories above them do, too.
#[test]
fn threads_do_not_disturb_each_other() {
    let (dir, disk) = disk();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let disk = &disk;
            scope.spawn(move || {
                for round in 0..60u16 {
                    let number = thread * 8 + round % 8;
                    let content = [number as u8; 100];
                    let steps =
                        vec![DiskStep::Create(incoming(number)), write(incoming(number), 0, &content)];
                    assert_eq!(disk.run(steps), Ok(vec![]));
                    if round % 3 == 0 {
                        assert_eq!(disk.run(vec![DiskStep::Remove(incoming(number))]), Ok(vec![]));
                        continue;
                    }
                    assert_eq!(disk.run(finish(number)), Ok(vec![]));
                    let steps = vec![read(share(number), 0, 200), DiskStep::Remove(share(number))];
                    assert_eq!(disk.run(steps), Ok(vec![data(&content)]));
                }
            });
        }
    });
    assert_eq!(tree(dir.path()), ["storage/shares/ce", "storage/shares/incoming"]);
}

/// A small file system of its own, gone when dropped.
struct Mount(TempDir);

impl Mount {
    /// Mounting is for root alone, and not in every sandbox.
    fn new(options: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tallac"]).arg(dir.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: this user cannot mount a file system");
            return None;
        }
        Some(Mount(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_full() {
    let Some(mount) = Mount::new("size=256k") else { return };
    let disk = Disk::open(mount.0.path(), DiskOptions::default()).expect("opens");
    assert_eq!(disk.run(vec![DiskStep::FreeSpace]), Ok(vec![DiskOutput::Free(256 * 1024)]));
    disk.run(vec![DiskStep::Create(incoming(0))]).expect("creates");
    assert_eq!(disk.run(vec![write(incoming(0), 0, &[1; 300 * 1024])]), failure(0, DiskError::Full));
    assert_eq!(disk.run(vec![DiskStep::FreeSpace]), Ok(vec![DiskOutput::Free(0)]));
    let replace = DiskStep::Replace(StorePath::AnnouncementSequence, vec![1; 9000].into());
    assert_eq!(disk.run(vec![replace]), failure(0, DiskError::Full));
    disk.run(vec![DiskStep::Remove(incoming(0))]).expect("removes");
    let left = tree(mount.0.path());
    assert_eq!(left, ["storage/shares/incoming"], "nothing is left of what did not fit");
}

/// Permissions do not stop root, so the file system itself is made read-only.
#[test]
fn a_read_only_disk_is_read_only() {
    let Some(mount) = Mount::new("size=256k") else { return };
    let disk = Disk::open(mount.0.path(), DiskOptions::default()).expect("opens");
    disk.run(vec![DiskStep::Create(incoming(0)), write(incoming(0), 0, b"abc")]).expect("writes");
    disk.run(finish(0)).expect("finishes");
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(mount.0.path()).status();
    assert!(remount.is_ok_and(|status| status.success()));
    assert_eq!(disk.run(vec![read(share(0), 0, 5)]), Ok(vec![data(b"abc")]));
    for step in [
        DiskStep::Create(incoming(1)),
        write(share(0), 0, b"x"),
        DiskStep::Remove(share(0)),
        DiskStep::Replace(StorePath::AnnouncementSequence, b"1".to_vec().into()),
    ] {
        assert_eq!(disk.run(vec![step.clone()]), failure(0, DiskError::ReadOnly), "{step:?}");
    }
}

#[test]
fn what_is_made_once_is_never_overwritten() {
    let (dir, disk) = disk();
    let make = |content: &[u8]| DiskStep::Make(StorePath::PersonalRoot, content.to_vec().into());
    assert_eq!(disk.run(vec![make(b"first\n")]), Ok(vec![]));
    assert_eq!(disk.run(vec![make(b"second\n")]), failure(0, DiskError::Exists));
    assert_eq!(disk.run(vec![read(StorePath::PersonalRoot, 0, 100)]), Ok(vec![data(b"first\n")]));
    let path = dir.path().join("private/personal-root.cap");
    assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(tree(dir.path()), ["private/personal-root.cap"], "nothing is left beside it");
}

#[test]
fn whole_shares_are_counted() {
    let (dir, disk) = disk();
    assert_eq!(disk.run(vec![DiskStep::CountShares]), Ok(vec![DiskOutput::Stored { shares: 0, bytes: 0 }]));
    disk.run(vec![DiskStep::Create(incoming(0)), write(incoming(0), 0, &[1; 5000])]).expect("writes");
    disk.run(finish(0)).expect("finishes");
    disk.run(vec![DiskStep::Create(incoming(1)), write(incoming(1), 0, &[1; 300])]).expect("writes");
    fs::write(dir.path().join("storage/shares").join(INDEX_DIR).join("x.tmp"), b"x").expect("writes");
    let stored = DiskOutput::Stored { shares: 1, bytes: 5000 };
    assert_eq!(disk.run(vec![DiskStep::CountShares]), Ok(vec![stored]));
}
