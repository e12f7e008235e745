//! Which versions, and where each lies: the tree that npm would lay out below `node_modules`.
//!
//! A dependency is served by what lies in the nearest folder above that has it, if its version will do. Otherwise it is placed as high up as
//! it can be without standing between another package and what that one already found. Packages are looked at level by level, by
//! name, so the same answers give the same tree.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use crate::limits::{EDGES_MAX, PACKAGES_MAX, REQUESTS_AT_ONCE};
use crate::registry::{RegistryError, Release};
use crate::spec::{Spec, SpecError};
use crate::version::Version;

/// Why no tree can be made. Its text may be shown to whoever deploys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A version cannot be chosen.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A package depends on something that is not in a registry.
    #[error("{error} (a dependency of '{of}')")]
    Spec {
        /// The package.
        of: String,
        /// What it asks for.
        error: SpecError,
    },
    /// Two packages want to see different versions of a third at one place.
    #[error("'{of}' wants '{name}' to be '{wanted}', and it is {found}")]
    Conflict {
        /// The package that wants.
        of: String,
        /// What it wants.
        name: String,
        /// Which versions.
        wanted: String,
        /// Which one is there.
        found: String,
    },
    /// There are more packages than a set may have.
    #[error("an Action has at most {PACKAGES_MAX} packages, those included that its packages need")]
    TooMany,
}

/// A version that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) version: Version,
    pub(crate) release: Arc<Release>,
    /// It lies on the shelf.
    pub(crate) is_shelved: bool,
}

/// Who chooses versions.
pub(crate) trait Choose: Send + Sync {
    /// Chooses one; `wanted` is how it was written.
    fn choose<'a>(&'a self, spec: &'a Spec, wanted: &'a str) -> BoxFuture<'a, Result<Chosen, RegistryError>>;
}

/// A package in the tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// What it lies in; the first node, the Action itself, lies in itself.
    pub(crate) within: usize,
    /// Its name in the registry.
    pub(crate) package: String,
    pub(crate) chosen: Chosen,
    /// Where it lies: `node_modules/a/node_modules/b`; empty for the Action.
    pub(crate) path: String,
    /// The Action itself asked for it.
    pub(crate) is_root: bool,
    /// What lies in it, by the name under which it is found.
    children: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
    /// It must be found beside who needs it, not in it.
    Peer,
    PeerIfThere,
}

#[derive(Debug, Clone)]
struct Edge {
    from: usize,
    name: String,
    wanted: String,
    spec: Spec,
    need: Need,
}

#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    /// What was found, by who asked and under which name.
    served: BTreeMap<(usize, String), (Edge, usize)>,
}

/// Lays out what `roots` need: every package, the Action itself first.
pub(crate) async fn plan(
    roots: &BTreeMap<String, (String, Spec)>,
    choose: &dyn Choose,
) -> Result<Vec<Node>, PlanError> {
    let nothing = Chosen { version: Version::default(), release: Arc::default(), is_shelved: false };
    let top = Node {
        within: 0,
        package: String::new(),
        chosen: nothing,
        path: String::new(),
        is_root: false,
        children: BTreeMap::new(),
    };
    let mut tree = Tree { nodes: vec![top], served: BTreeMap::new() };
    let mut next: VecDeque<Edge> = roots
        .iter()
        .map(|(name, (wanted, spec))| Edge {
            from: 0,
            name: name.clone(),
            wanted: wanted.clone(),
            spec: spec.clone(),
            need: Need::Required,
        })
        .collect();
    let mut looked_at = 0;
    while !next.is_empty() {
        // Everything that this level may have to ask for is asked for at once; who chooses remembers the answers.
        let level = std::mem::take(&mut next);
        let asked = level.iter().filter(|edge| tree.is_open(edge));
        let asked: Vec<_> = asked.map(|edge| choose.choose(&edge.spec, &edge.wanted)).collect();
        stream::iter(asked).buffer_unordered(REQUESTS_AT_ONCE).for_each(|_| async {}).await;
        for edge in level {
            looked_at += 1;
            if looked_at > EDGES_MAX {
                return Err(PlanError::TooMany);
            }
            if tree.is_open(&edge) {
                let chosen = match choose.choose(&edge.spec, &edge.wanted).await {
                    Ok(chosen) => chosen,
                    Err(_) if edge.need == Need::Optional => continue,
                    Err(error) => return Err(error.into()),
                };
                // What is optional and made for a machine is for another one than this.
                if edge.need == Need::Optional && chosen.release.is_native {
                    continue;
                }
                tree.place(edge, chosen, &mut next)?;
            }
        }
    }
    Ok(tree.nodes)
}

impl Tree {
    /// The folder from which an edge looks upwards.
    fn start(&self, edge: &Edge) -> usize {
        match edge.need {
            Need::Peer | Need::PeerIfThere => self.nodes[edge.from].within,
            Need::Required | Need::Optional => edge.from,
        }
    }

    /// The folders from `start` upwards.
    fn upwards(&self, start: usize) -> impl Iterator<Item = usize> {
        let mut next = Some(start);
        std::iter::from_fn(move || {
            let here = next?;
            next = (here != 0).then(|| self.nodes[here].within);
            Some(here)
        })
    }

    /// What `start` finds under a name, and the folder that it lies in.
    fn find(&self, start: usize, name: &str) -> Option<(usize, usize)> {
        self.upwards(start).find_map(|folder| Some((folder, *self.nodes[folder].children.get(name)?)))
    }

    fn does(&self, node: usize, spec: &Spec) -> bool {
        let node = &self.nodes[node];
        spec.admits(&node.package, &node.chosen.version)
    }

    /// Whether something has to be placed for an edge. Notes what serves it if not.
    fn is_open(&mut self, edge: &Edge) -> bool {
        let found = self.find(self.start(edge), &edge.name);
        match found {
            Some((_, node)) if self.does(node, &edge.spec) => {
                self.serve(edge.clone(), node);
                false
            }
            // What need not be there is not brought, and not fought about.
            _ => edge.need != Need::PeerIfThere,
        }
    }

    fn serve(&mut self, edge: Edge, node: usize) {
        self.served.entry((edge.from, edge.name.clone())).or_insert((edge, node));
    }

    /// Whether `folder` is `above` or lies in it.
    fn is_in(&self, folder: usize, above: usize) -> bool {
        self.upwards(folder).any(|here| here == above)
    }

    /// Whether something in `folder` that is called `name` would hide from another package what that one has found.
    fn would_hide(&self, folder: usize, name: &str, spec: &str, chosen: &Chosen) -> bool {
        self.served.values().any(|(edge, node)| {
            edge.name == name
                && self.is_in(self.start(edge), folder)
                && !self.is_in(self.nodes[*node].within, folder)
                && !edge.spec.admits(spec, &chosen.version)
        })
    }

    /// Whether what a package wants beside it is there, or can come there.
    fn peers_agree(&self, folder: usize, release: &Release) -> bool {
        release.peers.iter().all(|(name, (wanted, optional))| {
            let Ok(spec) = Spec::of_dependency(name, wanted) else { return true };
            match self.find(folder, name) {
                Some((_, node)) if self.does(node, &spec) => true,
                Some((at, _)) => *optional || at != folder,
                None => true,
            }
        })
    }

    /// Places what was chosen for an edge, and lists what that needs.
    fn place(&mut self, edge: Edge, chosen: Chosen, next: &mut VecDeque<Edge>) -> Result<(), PlanError> {
        let start = self.start(&edge);
        let hidden = self.find(start, &edge.name);
        // The folders between the start and what is there already and will not do.
        let folders: Vec<usize> =
            self.upwards(start).take_while(|folder| hidden.is_none_or(|(at, _)| at != *folder)).collect();
        let fits = |folder: &&usize| !self.would_hide(**folder, &edge.name, &edge.spec.name, &chosen);
        let best =
            folders.iter().rev().filter(fits).find(|folder| self.peers_agree(**folder, &chosen.release));
        let place = best.or_else(|| folders.iter().rev().find(fits)).copied();
        // Peers of the Action's own packages must agree; further down npm lets a disagreement pass.
        let agrees = best.is_some() || start != 0;
        let Some(place) = place.filter(|_| agrees) else {
            if edge.need == Need::Peer && start != 0 {
                return Ok(());
            }
            let found = match hidden {
                Some((_, node)) => self.nodes[node].chosen.version.to_string(),
                None => format!("at odds with what {} wants beside it", chosen.version),
            };
            let of =
                if edge.from == 0 { "the Action".to_owned() } else { self.nodes[edge.from].package.clone() };
            return Err(PlanError::Conflict { of, name: edge.name, wanted: edge.wanted, found });
        };
        if self.nodes.len() > PACKAGES_MAX {
            return Err(PlanError::TooMany);
        }
        let node = self.nodes.len();
        let above = &self.nodes[place].path;
        let path = if above.is_empty() {
            format!("node_modules/{}", edge.name)
        } else {
            format!("{above}/node_modules/{}", edge.name)
        };
        let release = Arc::clone(&chosen.release);
        let package = edge.spec.name.clone();
        let is_root = edge.from == 0;
        self.nodes.push(Node { within: place, package, chosen, path, is_root, children: BTreeMap::new() });
        self.nodes[place].children.insert(edge.name.clone(), node);
        // Who found the hidden one finds this one now, which will do.
        let others = self.served.iter().filter(|(_, (other, old))| {
            other.name == edge.name
                && self.is_in(self.start(other), place)
                && !self.is_in(self.nodes[*old].within, place)
        });
        let others: Vec<_> = others.map(|(key, _)| key.clone()).collect();
        for key in others {
            if let Some((_, served)) = self.served.get_mut(&key) {
                *served = node;
            }
        }
        self.serve(edge, node);
        self.needs(node, &release, next)
    }

    fn needs(&self, node: usize, release: &Release, next: &mut VecDeque<Edge>) -> Result<(), PlanError> {
        let peers = release.peers.iter().map(|(name, (wanted, optional))| {
            (name, wanted, if *optional { Need::PeerIfThere } else { Need::Peer })
        });
        let required = release.dependencies.iter().map(|(name, wanted)| (name, wanted, Need::Required));
        let optional = release.optional.iter().map(|(name, wanted)| (name, wanted, Need::Optional));
        for (name, wanted, need) in peers.chain(required).chain(optional) {
            match Spec::of_dependency(name, wanted) {
                Ok(spec) => {
                    next.push_back(Edge {
                        from: node,
                        name: name.clone(),
                        wanted: wanted.clone(),
                        spec,
                        need,
                    });
                }
                Err(_) if need != Need::Required => {}
                Err(error) => return Err(PlanError::Spec { of: self.nodes[node].package.clone(), error }),
            }
        }
        Ok(())
    }
}
