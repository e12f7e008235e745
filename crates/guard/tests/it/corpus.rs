//! The fuzz targets over the saved corpus, over its entries with a few bytes changed, and over any bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use curfew_guard::fuzz::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// File name and content.
type Entry = (String, Vec<u8>);

/// Every entry, by target.
static CORPUS: LazyLock<BTreeMap<String, Vec<Entry>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    fs::read_dir(root)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|folder| {
            let files = fs::read_dir(folder.path())
                .unwrap()
                .map(Result::unwrap)
                .map(|entry| (name(&entry), fs::read(entry.path()).unwrap()))
                .collect();
            (name(&folder), files)
        })
        .collect()
});

#[test]
fn every_entry_is_accepted_or_refused_as_its_name_says() {
    let targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut sorted = targets.clone();
    sorted.sort();
    assert_eq!(CORPUS.keys().cloned().collect::<Vec<_>>(), sorted, "a folder for each target");
    for (name, target) in TARGETS {
        let entries = &CORPUS[*name];
        for (file, bytes) in entries {
            let expected = file.starts_with("accepted");
            assert!(expected || file.starts_with("refused"), "{name}/{file}");
            assert_eq!(target(bytes), expected, "{name}/{file}");
        }
        assert!(entries.iter().any(|(file, _)| file.starts_with("accepted")), "{name}");
    }
}

/// One change of an entry: at a relative place, what to do there.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    // Bytes that mean something in JSON, base64url or event streams come more often.
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b".=-_\"{}[],:\\ \r\n0A\x00\xff".to_vec())];
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        at().prop_map(Change::Remove),
        at().prop_map(Change::Cut),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Set(at, byte) => bytes[at.index(length)] = *byte,
        Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
        Change::Remove(at) => drop(bytes.remove(at.index(length))),
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            bytes.extend_from_within(from.min(to)..from.max(to));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_bytes_return(bytes in vec(any::<u8>(), 0..1024)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    #[test]
    fn changed_entries_return(entry in any::<Index>(), changes in vec(change(), 1..4)) {
        for (name, target) in TARGETS {
            let mut bytes = entry.get(&CORPUS[*name]).1.clone();
            changes.iter().for_each(|change| apply(&mut bytes, change));
            target(&bytes);
        }
    }
}
