//! Files that are cut, changed or made up are refused by name; the page describes what is written.

use proptest::prelude::*;

use super::*;
use crate::snapshot::sample::Sample;

fn file() -> Bytes {
    let sample = Sample::new();
    sample.file(&sample.json())
}

fn refused(file: Vec<u8>) -> SnapshotError {
    Snapshot::parse(&file.into()).unwrap_err()
}

/// The file with 8 bytes of its header replaced and its checksum made right again.
fn with_word(at: usize, word: u64) -> Vec<u8> {
    let mut file = file().to_vec();
    file[at..at + 8].copy_from_slice(&word.to_le_bytes());
    let sum = Sha256::digest(&file[..SUMMED]);
    file[SUMMED..HEADER].copy_from_slice(&sum);
    file
}

#[test]
fn what_is_written_is_read() {
    let sample = Sample::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&mut file.reopen().unwrap(), &sample.manifest, &sample.files, &sample.image).unwrap();
    let read = Snapshot::read(file.path()).unwrap();
    assert_eq!((&read.manifest, &read.files[..]), (&sample.manifest, &sample.files[..]));
    assert!(read.image == sample.image);
    assert_eq!(std::fs::read(file.path()).unwrap(), sample.file(&sample.json()));
}

#[test]
fn the_header_is_judged_part_by_part() {
    assert!(matches!(refused(b"#!/bin/sh".to_vec()), SnapshotError::Magic { .. }));
    assert!(matches!(refused(vec![0; 4096]), SnapshotError::Magic { .. }));
    assert!(matches!(refused(Vec::new()), SnapshotError::Truncated { found: 0, expected: 192 }));
    let version = |number: u64| refused(with_word(8, number | (HEADER as u64) << 32));
    assert!(matches!(version(1), SnapshotError::Version { found: 1 }));
    assert!(matches!(version(99), SnapshotError::Version { found: 99 }));
    let length = u64::from(VERSION) | 64 << 32;
    assert!(matches!(refused(with_word(8, length)), SnapshotError::HeaderLength { found: 64 }));
    let mut damaged = file().to_vec();
    damaged[20] ^= 1;
    assert!(matches!(refused(damaged), SnapshotError::HeaderHash { .. }));
}

#[test]
fn sections_are_where_they_have_to_be() {
    for (index, section) in Section::ALL.into_iter().enumerate() {
        let (offset, length) = (16 + 16 * index, 24 + 16 * index);
        for at in [0, 1 << 40, u64::MAX] {
            let error = refused(with_word(offset, at));
            assert!(
                matches!(error, SnapshotError::Offset { section: found, .. } if found == section),
                "{error}"
            );
        }
        for count in [u64::MAX, section.limit() + 1] {
            let error = refused(with_word(length, count));
            assert!(
                matches!(error, SnapshotError::TooLarge { section: found, .. } if found == section),
                "{error}"
            );
        }
    }
    let mut longer = file().to_vec();
    longer.push(0);
    assert!(matches!(refused(longer), SnapshotError::Trailing { .. }));
    let mut padded = file().to_vec();
    padded[IMAGE_ALIGNMENT as usize - 1] = 1;
    assert!(matches!(refused(padded), SnapshotError::Padding));
}

#[test]
fn a_file_that_is_gone_or_a_folder_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("none"), folder.path().to_owned()] {
        let error = Snapshot::read(&path).unwrap_err();
        assert!(matches!(&error, SnapshotError::Read { .. } | SnapshotError::Truncated { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_truncated_file_is_refused(part in 0.0..1.0_f64) {
        let file = file();
        let length = (file.len() as f64 * part) as usize;
        let error = Snapshot::parse(&file.slice(..length)).unwrap_err();
        let is_named = matches!(error, SnapshotError::Truncated { found, .. } if found == length as u64);
        prop_assert!(is_named, "{}", error);
    }

    #[test]
    fn a_flipped_bit_is_refused(part in 0.0..1.0_f64, bit in 0..8) {
        let mut file = file().to_vec();
        let at = (file.len() as f64 * part) as usize;
        file[at] ^= 1_u8 << bit;
        prop_assert!(Snapshot::parse(&file.into()).is_err());
    }

    #[test]
    fn a_flipped_bit_of_header_manifest_or_files_is_refused(part in 0.0..1.0_f64, bit in 0..8) {
        let mut file = file().to_vec();
        let end = Header::judge(&file[..HEADER], file.len() as u64).unwrap().sections[1].end;
        let at = (end as f64 * part) as usize;
        file[at] ^= 1_u8 << bit;
        prop_assert!(Snapshot::parse(&file.into()).is_err());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), magic: bool) {
        let mut file = bytes;
        if magic && file.len() > 16 {
            file[..8].copy_from_slice(MAGIC);
            file[8..12].copy_from_slice(&VERSION.to_le_bytes());
        }
        prop_assert!(Snapshot::parse(&file.into()).is_err());
    }
}

/// The first cells of the rows of `docs/snapshot-format.md` that have one in backticks.
fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/snapshot-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    page.lines().filter_map(cell).collect()
}

#[test]
fn the_page_describes_the_manifest() {
    let sample = Sample::new().json();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut expected = keys(&sample);
    expected.extend(keys(&sample["runtime"]).iter().map(|key| format!("runtime.{key}")));
    expected.extend(keys(&sample["libraries"][0]).iter().map(|key| format!("libraries[].{key}")));
    let mut found = documented();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_page_describes_the_header() {
    let page = include_str!("../../../../docs/snapshot-format.md");
    for expected in [
        format!("# The snapshot file\n\nVersion {VERSION}."),
        format!("| 12 | 4 | header length, {HEADER} |"),
        "| 64 | 3 × 32 | SHA-256 of manifest, files and image |".to_owned(),
        format!("| {SUMMED} | 32 | SHA-256 of bytes 0 to {} |", SUMMED - 1),
        format!("multiple of {IMAGE_ALIGNMENT}"),
    ] {
        assert!(page.contains(&expected), "no `{expected}` in docs/snapshot-format.md");
    }
    let sample = Sample::new();
    let header = &sample.file(&sample.json())[..HEADER];
    assert_eq!(&header[..16], b"WARMSNAP\x02\0\0\0\xc0\0\0\0");
    assert_eq!(&header[SUMMED..], &Sha256::digest(&header[..SUMMED])[..]);
}
