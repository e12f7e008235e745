//! The bytecode of packages: made once, by workers that do nothing else, and kept.
//!
//! The engine trusts bytecode blindly. What is read here as bytecode was therefore made by a worker that had seen nothing
//! but the text of this very set, or comes from [`Bytecodes`], which answers for it. A worker that runs Actions has no way
//! to hand bytecode in: from such a one `Compiled` is nonsense, and ends it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use curfew_packages::{By, Kind, Target};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::worker::Broken;
use crate::protocol::{COMPILED_BYTES_MAX, Decoder, FromWorker, PackageFile, ToWorker, encode, parts};
use crate::{ActionError, HostFuture, Nothing, PackageSet};

/// Sets whose bytecode stays in memory.
const SETS_MAX: usize = 32;
/// All of it together.
const SETS_BYTES_MAX: usize = 256 << 20;
/// Processor time that compiling a set may take.
const COMPILE_CPU_SECONDS: u32 = 60;
/// Real time for the same.
const COMPILE_PATIENCE: Duration = Duration::from_secs(120);

/// Which bytecode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytecodeOf<'a> {
    /// For whom it was made, and is used.
    pub tenant: u64,
    /// The set of packages.
    pub digest: &'a str,
    /// The engine that made it; no other can read it.
    pub engine: &'a str,
}

/// Where bytecode rests, so that after a restart, and at other nodes, it need not be made again.
pub trait Bytecodes: fmt::Debug + Send + Sync {
    /// What was kept. Whoever answers says with that that it is just what [`Bytecodes::keep`] was given, here or at
    /// another node of the same server's.
    fn find<'a>(&'a self, of: BytecodeOf<'a>) -> HostFuture<'a, Option<Bytes>>;

    /// Keeps it, if that can be done; nobody depends on it.
    fn keep<'a>(&'a self, of: BytecodeOf<'a>, bytecode: Bytes) -> HostFuture<'a, ()>;
}

impl Bytecodes for Nothing {
    fn find<'a>(&'a self, _: BytecodeOf<'a>) -> HostFuture<'a, Option<Bytes>> {
        Box::pin(async { None })
    }

    fn keep<'a>(&'a self, _: BytecodeOf<'a>, _: Bytes) -> HostFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// What is kept of a set, as the head of a frame. Body: the bytecode.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Paths and lengths, in the order of the body.
    files: Vec<(String, usize)>,
}

/// The bytecode of a set of packages, ready to be sent.
#[derive(Debug)]
pub(super) struct Compiled {
    frame: Bytes,
}

impl Compiled {
    /// `ToWorker::Packages`, encoded.
    pub(super) fn frame(&self) -> Bytes {
        self.frame.clone()
    }
}

/// A tenant's set. What was made for one tenant is used for no other, also in memory.
type Key = (u64, String);

/// Bytecode in memory.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The set that was used last is the last.
    sets: Mutex<Vec<(Key, Arc<Compiled>)>>,
    /// Who loads a set has the lock of it; whoever needs it meanwhile waits for that one.
    loading: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
    /// One set is compiled at a time. Who finds one kept does not wait for that.
    compiling: tokio::sync::Mutex<()>,
    compilations: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loaded {
    pub(super) fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    fn find(&self, key: &Key) -> Option<Arc<Compiled>> {
        let mut sets = lock(&self.sets);
        let place = sets.iter().position(|(known, _)| known == key)?;
        let found = sets.remove(place);
        let compiled = Arc::clone(&found.1);
        sets.push(found);
        Some(compiled)
    }

    fn put(&self, key: Key, compiled: &Arc<Compiled>) {
        let mut sets = lock(&self.sets);
        sets.push((key, Arc::clone(compiled)));
        let mut bytes: usize = sets.iter().map(|(_, compiled)| compiled.frame.len()).sum();
        while sets.len() > 1 && (sets.len() > SETS_MAX || bytes > SETS_BYTES_MAX) {
            bytes -= sets.remove(0).1.frame.len();
        }
    }

    fn lock_of(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut loading = lock(&self.loading);
        loading.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = loading.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        loading.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// A file of a set that is worth compiling beforehand.
type Reachable = (Arc<str>, Kind, Arc<str>);

impl Inner {
    /// The bytecode of a set: from memory, else what was kept, else made now.
    pub(super) async fn compiled(&self, tenant: u64, set: &PackageSet) -> Result<Arc<Compiled>, ActionError> {
        let key = (tenant, set.digest().to_owned());
        if let Some(compiled) = self.loaded.find(&key) {
            return Ok(compiled);
        }
        let lock = self.loaded.lock_of(&key);
        let _one = lock.lock().await;
        if let Some(compiled) = self.loaded.find(&key) {
            return Ok(compiled);
        }
        let reachable: Vec<Reachable> = set
            .reachable()
            .into_iter()
            .filter_map(|path| set.files().get(&path).map(|file| (path, file.kind, Arc::clone(&file.source))))
            .collect();
        let of = BytecodeOf { tenant, digest: set.digest(), engine: self.start()?.engine.as_str() };
        let bytecode = match self.config.bytecodes.find(of).await.and_then(|kept| read(of, kept)) {
            Some(bytecode) => bytecode,
            None => self.made(of, &reachable).await?,
        };
        let frame = frame(set, reachable, bytecode)?;
        let compiled = Arc::new(Compiled { frame });
        self.loaded.put(key, &compiled);
        Ok(compiled)
    }

    /// Has a set compiled, and keeps what comes of it.
    async fn made(
        &self,
        of: BytecodeOf<'_>,
        reachable: &[Reachable],
    ) -> Result<BTreeMap<String, Bytes>, ActionError> {
        let compiled = {
            let _one = self.loaded.compiling.lock().await;
            tokio::time::timeout(COMPILE_PATIENCE, self.compile(reachable)).await
        };
        match compiled {
            Ok(Ok(bytecode)) => {
                self.loaded.compilations.fetch_add(1, Ordering::Relaxed);
                let BytecodeOf { tenant, digest, engine } = of;
                tracing::info!(tenant, digest, engine, "the packages of an Action were compiled");
                let (files, bodies): (Vec<_>, Vec<_>) =
                    bytecode.iter().map(|(path, body)| ((path.clone(), body.len()), &**body)).unzip();
                if let Ok(kept) = encode(&Kept { files }, &bodies) {
                    self.config.bytecodes.keep(of, kept).await;
                }
                Ok(bytecode)
            }
            // Its text still does, only slower.
            Ok(Err(ActionError::Crashed)) | Err(_) => {
                tracing::warn!(set = of.digest, "a set of packages could not be compiled");
                Ok(BTreeMap::new())
            }
            Ok(Err(error)) => Err(error),
        }
    }

    /// Has files compiled by a worker that has run nobody's code, and that ends after it.
    async fn compile(&self, files: &[Reachable]) -> Result<BTreeMap<String, Bytes>, ActionError> {
        let mut worker = self.started().await?;
        let said = async {
            let bodies: Vec<&[u8]> = files.iter().map(|(_, _, source)| source.as_bytes()).collect();
            let files =
                files.iter().map(|(path, kind, source)| (path.to_string(), *kind, source.len())).collect();
            worker.tell(&ToWorker::Compile { cpu_seconds: COMPILE_CPU_SECONDS, files }, &bodies)?;
            loop {
                match worker.turn(COMPILED_BYTES_MAX).await? {
                    (FromWorker::Ready { confinement }, _) => self.say_how_confined(confinement),
                    (FromWorker::Compiled { files }, body) => {
                        let bodies = parts(body, files.iter().map(|(_, bytes)| *bytes))?;
                        return Ok(files.into_iter().map(|(path, _)| path).zip(bodies).collect());
                    }
                    _ => return Err(Broken::Confused),
                }
            }
        };
        said.await.map_err(|_: Broken| ActionError::Crashed)
    }
}

/// What was kept, taken apart.
fn read(of: BytecodeOf<'_>, kept: Bytes) -> Option<BTreeMap<String, Bytes>> {
    let mut decoder = Decoder::new();
    decoder.push(&kept);
    let bytecode = match decoder.next::<Kept>(kept.len()) {
        Ok(Some((Kept { files }, body))) if !decoder.has_some() => {
            let bodies = parts(body, files.iter().map(|(_, bytes)| *bytes));
            bodies.ok().map(|bodies| files.into_iter().map(|(path, _)| path).zip(bodies).collect())
        }
        _ => None,
    };
    if bytecode.is_none() {
        tracing::error!(
            digest = of.digest,
            engine = of.engine,
            "bytecode that was kept cannot be read; it is made anew"
        );
    }
    bytecode
}

/// What a worker is told of a set: bytecode, or text where there is none.
fn frame(
    set: &PackageSet,
    reachable: Vec<Reachable>,
    mut bytecode: BTreeMap<String, Bytes>,
) -> Result<Bytes, ActionError> {
    let mut files = Vec::new();
    let mut bodies = Vec::new();
    for (path, kind, source) in reachable {
        let compiled = bytecode.remove(&*path);
        let body = compiled.clone().unwrap_or_else(|| Bytes::from(source.to_string()));
        files.push(PackageFile {
            path: path.to_string(),
            kind,
            compiled: compiled.is_some(),
            bytes: body.len(),
        });
        bodies.push(body);
    }
    let told = ToWorker::Packages {
        digest: set.digest().to_owned(),
        resolutions: resolutions_of(set, &files),
        files,
    };
    let bodies: Vec<&[u8]> = bodies.iter().map(|body| &**body).collect();
    encode(&told, &bodies).map_err(|error| ActionError::NotStarted { reason: error.to_string() })
}

/// What the specifiers in these files mean, and the names of the roots in the Action itself.
fn resolutions_of(set: &PackageSet, files: &[PackageFile]) -> BTreeMap<String, BTreeMap<String, Target>> {
    let table = |path: &str| set.resolutions().get(path);
    let mut resolutions: BTreeMap<String, BTreeMap<String, Target>> = files
        .iter()
        .filter_map(|file| Some((file.path.clone(), table(&file.path)?)))
        .map(|(path, table)| {
            (path, table.iter().map(|(specifier, target)| (specifier.to_string(), target.clone())).collect())
        })
        .collect();
    let roots =
        set.roots().keys().filter_map(|root| Some((root.clone(), set.resolve("", root, By::Require).ok()?)));
    resolutions.insert(String::new(), roots.collect());
    resolutions
}
