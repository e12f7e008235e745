//! A registry in memory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA512, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use curfew_packages::{
    Dependency, DeployError, Fetch, FetchError, Get, Got, PackageSet, Packages, Registries, Shelf,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

pub(crate) const HOST: &str = "https://npm.example/";

/// What a registry answers, by address.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) answers: BTreeMap<String, Got>,
    packuments: BTreeMap<String, Value>,
    /// What it was asked, with what was said to it.
    pub(crate) asked: Mutex<Vec<(String, Option<String>)>>,
}

pub(crate) fn got(status: u16, body: impl Into<Vec<u8>>) -> Got {
    Got { status, location: None, body: body.into().into() }
}

pub(crate) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("package/{path}"), text.as_bytes()).unwrap();
    }
    let mut encoder = builder.into_inner().unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", BASE64_STANDARD.encode(digest(&SHA512, bytes)))
}

impl Registry {
    /// Publishes `name` (an `@` in it begins the version) with what else its `package.json` says, and an `index.js` that says who it is.
    pub(crate) fn with(self, package: &str, says: Value) -> Self {
        let index = format!("module.exports = '{package}'");
        self.with_files(package, says, &[("index.js", &index)])
    }

    pub(crate) fn with_files(mut self, package: &str, says: Value, files: &[(&str, &str)]) -> Self {
        let (name, version) = package.rsplit_once('@').unwrap();
        let mut manifest = says;
        manifest["name"] = name.into();
        manifest["version"] = version.into();
        let text = manifest.to_string();
        let files: Vec<_> = [("package.json", &*text)].into_iter().chain(files.iter().copied()).collect();
        let bytes = tarball(&files);
        let place = format!("{HOST}{name}/-/{version}.tgz");
        manifest["dist"] = json!({"tarball": place, "integrity": integrity(&bytes)});
        let packument = self
            .packuments
            .entry(name.to_owned())
            .or_insert_with(|| json!({"versions": {}, "dist-tags": {}}));
        packument["versions"][version] = manifest;
        packument["dist-tags"]["latest"] = version.into();
        self.answers.insert(place, got(200, bytes));
        self.publish(name);
        self
    }

    /// Changes what is said about a package.
    pub(crate) fn change(mut self, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        change(self.packuments.get_mut(name).unwrap());
        self.publish(name);
        self
    }

    fn publish(&mut self, name: &str) {
        let body = self.packuments[name].to_string();
        self.answers.insert(format!("{HOST}{}", name.replace('/', "%2f")), got(200, body));
    }

    pub(crate) async fn deploy(self, dependencies: &[(&str, &str)]) -> Result<PackageSet, DeployError> {
        Arc::new(self).deploy_shared(&format!("registry={HOST}"), dependencies).await
    }

    pub(crate) async fn deploy_shared(
        self: &Arc<Self>,
        npmrc: &str,
        dependencies: &[(&str, &str)],
    ) -> Result<PackageSet, DeployError> {
        let registries = Registries::parse(npmrc, |_| None).unwrap();
        let fetch: Arc<dyn Fetch> = Arc::<Self>::clone(self);
        let packages = Packages::new(Shelf::empty(), registries, fetch);
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|&(name, version)| Dependency { name: name.into(), version: version.into() })
            .collect();
        packages.resolve(&dependencies).await
    }
}

impl Fetch for Registry {
    fn get(&self, get: Get) -> BoxFuture<'_, Result<Got, FetchError>> {
        Box::pin(async move {
            let url = get.url.to_string();
            let said = get.authorization.map(|said| said.into_inner());
            self.asked.lock().unwrap().push((url.clone(), said));
            // Later answers may come first.
            for _ in 0..url.len() % 7 {
                tokio::task::yield_now().await;
            }
            Ok(self.answers.get(&url).cloned().unwrap_or_else(|| got(404, "{}")))
        })
    }
}
