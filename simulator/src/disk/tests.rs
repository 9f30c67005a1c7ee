use super::*;

fn index() -> StorageIndex {
    StorageIndex([7; 16])
}

fn incoming() -> StorePath {
    StorePath::Incoming(index(), 3)
}

fn share() -> StorePath {
    StorePath::Share(index(), 3)
}

fn run(disk: &mut Disk, steps: impl IntoIterator<Item = DiskStep>) {
    for step in steps {
        disk.run(step).unwrap();
    }
}

fn write(offset: u64, len: usize) -> DiskStep {
    DiskStep::Write { path: incoming(), offset, data: Payload::from(vec![9; len]) }
}

/// How often, of many power cuts, the share is whole, damaged, or not there.
fn fates(lie: Lie, steps: &[DiskStep]) -> (usize, usize, usize) {
    let (mut whole, mut damaged, mut gone) = (0, 0, 0);
    for seed in 0..200 {
        let settings = DiskSettings { lie, ..DiskSettings::default() };
        let mut disk = Disk::new(settings, Chance::new(seed));
        run(&mut disk, steps.iter().cloned());
        disk.power_cut();
        disk.clean();
        match disk.content(&share()) {
            None => gone += 1,
            Some(content) if *content == [9; 10_000] => whole += 1,
            Some(_) => damaged += 1,
        }
    }
    (whole, damaged, gone)
}

fn finishing() -> Vec<DiskStep> {
    vec![
        DiskStep::Create(incoming()),
        write(0, 5_000),
        write(5_000, 5_000),
        DiskStep::Sync(incoming()),
        DiskStep::Rename(incoming(), share()),
        DiskStep::SyncName(share()),
    ]
}

#[test]
fn what_was_synced_survives() {
    assert_eq!(fates(Lie::None, &finishing()), (200, 0, 0));
}

#[test]
fn every_sync_is_needed() {
    let (whole, damaged, gone) = fates(Lie::NoContentSync, &finishing());
    assert!(damaged > 100 && whole > 0 && gone == 0, "{whole} {damaged} {gone}");
    let (whole, damaged, gone) = fates(Lie::NoNameSync, &finishing());
    assert!(damaged == 0 && whole > 0 && gone > 50, "{whole} {damaged} {gone}");
    let (whole, damaged, gone) = fates(Lie::NoSync, &finishing());
    assert!(damaged > 0 && whole > 0 && gone > 0, "{whole} {damaged} {gone}");
}

#[test]
fn a_failed_sync_is_not_mended_by_the_next() {
    let mut disk = Disk::new(DiskSettings { sync_failures: 1, ..Default::default() }, Chance::new(1));
    run(&mut disk, [DiskStep::Create(incoming()), write(0, 100)]);
    assert!(disk.run(DiskStep::Sync(incoming())).is_err());
    disk.settings_mut().sync_failures = 0;
    run(&mut disk, finishing().split_off(3));
    assert_eq!(disk.content(&share()).as_deref(), Some(&[9; 100][..]));
    assert!(!disk.is_durable(&share(), 0..100));
    disk.power_cut();
    assert_eq!(disk.content(&share()).as_deref(), Some(&[0; 100][..]));
}

#[test]
fn a_full_disk_says_so() {
    let mut disk = Disk::new(DiskSettings { capacity: 8192, ..Default::default() }, Chance::new(1));
    run(&mut disk, [DiskStep::Create(incoming()), write(0, 4000)]);
    assert_eq!(disk.run(write(4000, 5000)), Err(DiskError::Full));
    assert_eq!(disk.run(DiskStep::FreeSpace), Ok(Some(DiskOutput::Free(4096))), "blocks count");
    assert_eq!(disk.run(write(1 << 20, 4096)), Ok(None), "a hole takes no room");
    run(&mut disk, [DiskStep::Remove(incoming())]);
    assert_eq!(disk.run(DiskStep::FreeSpace), Ok(Some(DiskOutput::Free(8192))));
}

#[test]
fn reads_of_whole_shares_alone_end_early() {
    let mut disk = Disk::new(DiskSettings { short_reads: 1, ..Default::default() }, Chance::new(1));
    run(&mut disk, [DiskStep::Create(incoming()), write(0, 100)]);
    let read = |path| DiskStep::Read { path, offset: 0, len: 100 };
    let all = Payload::from(vec![9; 100]);
    assert_eq!(disk.run(read(incoming())), Ok(Some(DiskOutput::Data(all))));
    run(&mut disk, [DiskStep::Rename(incoming(), share())]);
    let Ok(Some(DiskOutput::Data(part))) = disk.run(read(share())) else { panic!("it is no failure") };
    assert!(part.len() < 100, "{}", part.len());
    assert_eq!(disk.refused().short, 1);
}
