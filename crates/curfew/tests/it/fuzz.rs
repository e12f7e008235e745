//! The fuzz targets of the rules and of the HTTP side: over the saved corpus, over its entries with a few bytes
//! changed, and over any bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

type Target = fn(&[u8]) -> bool;

/// Every entry, by target: file name and content.
type Corpus = BTreeMap<String, Vec<(String, Vec<u8>)>>;

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let list =
        |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let entries =
        |folder: &Path| list(folder).iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect();
    list(&root).iter().map(|folder| (name(folder), entries(folder))).collect()
});

fn targets() -> impl Iterator<Item = (&'static str, Target)> {
    curfew_core::fuzz::TARGETS.iter().chain(curfew_http::fuzz::TARGETS).copied()
}

#[test]
fn every_entry_is_accepted_or_refused_as_its_name_says() {
    let mut names: Vec<&str> = targets().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(CORPUS.keys().collect::<Vec<_>>(), names, "a folder for each target");
    for (name, target) in targets() {
        for (file, bytes) in &CORPUS[name] {
            let expected = file.starts_with("accepted");
            assert!(expected || file.starts_with("refused"), "{name}/{file}");
            assert_eq!(target(bytes), expected, "{name}/{file}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_return(bytes in vec(any::<u8>(), 0..512)) {
        for (_, target) in targets() {
            target(&bytes);
        }
    }

    #[test]
    fn changed_entries_return(
        entry in any::<Index>(),
        other in any::<Index>(),
        changes in vec((any::<Index>(), proptest::sample::select(b"&=%+;: \n/.#?@*\\\"{}[]aA0\x00\x7f\xc3\xff".to_vec()), 0..4_u8), 1..6),
    ) {
        for (name, target) in targets() {
            let entries = &CORPUS[name];
            let mut bytes = entry.get(entries).1.clone();
            for (at, byte, kind) in &changes {
                let place = at.index(bytes.len() + 1);
                match kind {
                    0 => bytes.insert(place, *byte),
                    1 if place < bytes.len() => bytes[place] = *byte,
                    2 if place < bytes.len() => drop(bytes.remove(place)),
                    // The end of another entry instead of its own.
                    _ => {
                        let tail = &other.get(entries).1;
                        bytes.truncate(place);
                        bytes.extend_from_slice(&tail[place.min(tail.len())..]);
                    }
                }
            }
            target(&bytes);
        }
    }
}
