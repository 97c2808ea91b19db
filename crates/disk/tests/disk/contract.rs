//! What every disk does while nothing fails.

use std::io::ErrorKind;
use std::path::Path;

use adsum_disk::{Disk, DiskFile, FaultyDisk, Open, RealDisk};

type Clause = fn(&dyn Disk, &Path);

const CLAUSES: &[(&str, Clause)] = &[
    ("opening", opening),
    ("bytes", bytes),
    ("names", names),
    ("handles outlive names", handles),
    ("files opened to be read", read_only),
];

fn read(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn make(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Box<dyn DiskFile> {
    let mut file = disk.open(path, Open::Create).unwrap();
    file.append(bytes).unwrap();
    file.sync().unwrap();
    file
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

fn opening(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    for how in [Open::Read, Open::Write] {
        assert_eq!(kind(disk.open(&path, how)), Some(ErrorKind::NotFound));
    }
    assert_eq!(kind(disk.open(&dir.join("no/a"), Open::Create)), Some(ErrorKind::NotFound));
    drop(make(disk, &path, b"x"));
    assert_eq!(kind(disk.open(&path, Open::Create)), Some(ErrorKind::AlreadyExists));
    for how in [Open::Read, Open::Write] {
        assert_eq!(read(disk.open(&path, how).unwrap().as_ref()), b"x");
    }
    let deep = dir.join("b/c/d");
    for _ in 0..2 {
        disk.create_dir_all(&deep).unwrap();
    }
    make(disk, &deep.join("e"), b"");
    assert_eq!(disk.list(&deep).unwrap(), ["e"]);
    assert_eq!(disk.list(dir).unwrap(), ["a"], "directories are not listed");
    assert_eq!(kind(disk.list(&dir.join("no"))), Some(ErrorKind::NotFound));
}

fn bytes(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    let mut file = make(disk, &path, b"hello");
    assert!(!file.is_empty().unwrap());
    file.append(b", world").unwrap();
    let other = disk.open(&path, Open::Read).unwrap();
    assert_eq!(read(other.as_ref()), b"hello, world", "what was written is seen before it is synced");
    let mut part = [0; 5];
    other.read_exact_at(&mut part, 7).unwrap();
    assert_eq!(&part, b"world");
    for offset in [8, 12, 100, 1 << 40] {
        assert_eq!(kind(other.read_exact_at(&mut part, offset)), Some(ErrorKind::UnexpectedEof), "{offset}");
    }
    other.read_exact_at(&mut [], 12).unwrap();
    file.truncate(3).unwrap();
    file.append(b"p!").unwrap();
    file.sync().unwrap();
    assert_eq!(read(other.as_ref()), b"help!");
    file.append(&[7; 10_000]).unwrap();
    file.truncate(5).unwrap();
    file.truncate(8).unwrap();
    assert_eq!(read(other.as_ref()), b"help!\0\0\0", "a file that is stretched holds zeros");
    drop(file);
    let mut again = disk.open(&path, Open::Write).unwrap();
    again.append(b"end").unwrap();
    assert_eq!(read(again.as_ref()), b"help!\0\0\0end");
}

fn names(disk: &dyn Disk, dir: &Path) {
    for (name, bytes) in [("c", b"3"), ("a", b"1"), ("b", b"2")] {
        make(disk, &dir.join(name), bytes);
    }
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["a", "b", "c"]);
    disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["b", "c"]);
    assert_eq!(read(disk.open(&dir.join("b"), Open::Read).unwrap().as_ref()), b"1", "a rename replaces");
    disk.remove(&dir.join("c")).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["b"]);
    assert_eq!(kind(disk.remove(&dir.join("c"))), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.rename(&dir.join("c"), &dir.join("d"))), Some(ErrorKind::NotFound));
    make(disk, &dir.join("c"), b"new");
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["b", "c"]);
}

fn handles(disk: &dyn Disk, dir: &Path) {
    let mut file = make(disk, &dir.join("a"), b"1");
    disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
    file.append(b"2").unwrap();
    assert_eq!(read(disk.open(&dir.join("b"), Open::Read).unwrap().as_ref()), b"12");
    disk.remove(&dir.join("b")).unwrap();
    make(disk, &dir.join("b"), b"other");
    assert_eq!(read(file.as_ref()), b"12");
}

fn read_only(disk: &dyn Disk, dir: &Path) {
    make(disk, &dir.join("a"), b"1");
    let mut file = disk.open(&dir.join("a"), Open::Read).unwrap();
    assert!(file.append(b"2").is_err());
    assert!(file.truncate(0).is_err());
    assert_eq!(read(file.as_ref()), b"1");
}

fn check(disk: &dyn Disk, root: &Path) {
    for (i, (name, clause)) in CLAUSES.iter().enumerate() {
        eprintln!("{name}");
        let dir = root.join(i.to_string());
        disk.create_dir_all(&dir).unwrap();
        clause(disk, &dir);
    }
}

#[test]
fn real() {
    let root = std::env::temp_dir().join(format!("adsum-disk-contract-{}", std::process::id()));
    check(&RealDisk, &root);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn faulty() {
    check(&FaultyDisk::new(1), Path::new("root"));
}
