//! What a fresh machine lacks, installed before anything is built that would need it.
//!
//! Debian packages are installed where we may (as root, with `apt-get`) and named where we may not. Tools and
//! packages of other languages go to the [cache folder](crate::cache), never into the system or the checkout.
//! Each set of packages is installed beside its place and then moved there, so a broken download leaves nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cache, program, workspace};

/// A program that comes as a Debian package.
pub(crate) struct Need {
    /// For the reader of the complaint.
    pub(crate) what: &'static str,
    pub(crate) packages: &'static [&'static str],
    pub(crate) is_there: fn() -> bool,
}

pub(crate) const POSTGRESQL: Need = Need {
    what: "PostgreSQL",
    packages: &["postgresql"],
    is_there: || crate::postgres::server_folder().is_some(),
};
pub(crate) const CHROMIUM: Need =
    Need { what: "Chromium", packages: &["chromium"], is_there: || chromium().is_some() };
pub(crate) const NODE: Need = Need {
    what: "Node 20.11 or later, with npm",
    packages: &["nodejs", "npm"],
    is_there: || {
        let version = program::output_of(Command::new("node").arg("--version")).unwrap_or_default();
        is_at_least(&version, (20, 11)) && program::find(&["npm"]).is_some()
    },
};
pub(crate) const OPENSSL: Need =
    Need { what: "openssl", packages: &["openssl"], is_there: || program::find(&["openssl"]).is_some() };
/// With it a test sees that the disk has what an answer acknowledges. It is Linux's alone, and so is that test.
pub(crate) const STRACE: Need = Need {
    what: "strace",
    packages: &["strace"],
    is_there: || !cfg!(target_os = "linux") || program::find(&["strace"]).is_some(),
};
/// Reverse proxies that the examples configure.
pub(crate) const PROXIES: Need = Need {
    what: "nginx and Caddy",
    packages: &["nginx-light", "caddy"],
    is_there: || program::find(&["nginx"]).is_some() && program::find(&["caddy"]).is_some(),
};
/// A relying party that is nobody's SDK.
pub(crate) const APACHE: Need = Need {
    what: "Apache with mod_auth_openidc",
    packages: &["apache2", "libapache2-mod-auth-openidc"],
    is_there: || {
        program::find(&["apache2"]).is_some()
            && Path::new("/usr/lib/apache2/modules/mod_auth_openidc.so").is_file()
    },
};
pub(crate) const PYTHON: Need = Need {
    what: "Python 3 with venv",
    packages: &["python3", "python3-venv"],
    is_there: || program::works(Command::new("python3").args(["-c", "import venv, ensurepip"])),
};

/// A tool of Cargo's that is built from its package, at one version, where the machine has none.
pub(crate) struct Tool {
    /// As in `cargo <name>`.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
}

pub(crate) const NEXTEST: Tool = Tool { name: "nextest", package: "cargo-nextest", version: "0.9.143" };
pub(crate) const DENY: Tool = Tool { name: "deny", package: "cargo-deny", version: "0.20.2" };

/// Installs the Debian packages of what is missing, or says which to install.
pub(crate) fn debian(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        println!("{}: there", needs.iter().map(|need| need.what).collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    let names = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    if !is_root() || program::find(&["apt-get"]).is_none() {
        return Err(format!(
            "missing: {names}. On Debian: sudo apt-get install {}. Elsewhere, put them on the PATH",
            packages.join(" ")
        ));
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        // Packages of servers start them otherwise; tests start their own.
        command.env("RUNLEVEL", "1");
        command
    };
    program::run(apt().args(["update", "--quiet"]))?;
    program::run(apt().args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages))?;
    match missing.iter().find(|need| !(need.is_there)()) {
        None => Ok(()),
        Some(need) => Err(format!("{} is still not found after its packages were installed", need.what)),
    }
}

/// Makes `cargo <name>` work for commands that got [`path_with_tools`].
pub(crate) fn cargo_tool(tool: &Tool) -> Result<(), String> {
    let root = workspace::root();
    let version_of = || {
        let mut command = program::cargo(&root);
        command.args([tool.name, "--version"]);
        if let Ok(path) = path_with_tools() {
            command.env("PATH", path);
        }
        command
    };
    if program::works(&mut version_of()) {
        let version = program::output_of(&mut version_of())?;
        println!("{}: there", version.lines().next().unwrap_or(tool.package));
        return Ok(());
    }
    let tools = tools()?;
    println!("{} is built from its package; this takes some minutes, once", tool.package);
    let builds = tools.join("build");
    let installed = program::run(
        program::cargo(&root)
            .args(["install", "--locked", "--version", tool.version, "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(&builds)
            .arg(tool.package),
    );
    // The build is many times the size of the tool.
    drop(std::fs::remove_dir_all(&builds));
    installed
}

/// `PATH` with our tools behind everything else: what the developer installed comes first.
pub(crate) fn path_with_tools() -> Result<OsString, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([tools()?.join("bin")]);
    std::env::join_paths(folders).map_err(|error| format!("PATH: {error}"))
}

fn tools() -> Result<PathBuf, String> {
    Ok(cache::folder()?.join("tools"))
}

/// Installs the Node packages that `folder`'s lock file names, and links them to `folder/node_modules`.
///
/// Packages run no scripts of their own: none of ours needs one, and a browser download would be the first.
pub(crate) fn node_packages(folder: &Path) -> Result<(), String> {
    let manifest = workspace::read(&folder.join("package.json"))?;
    let lock = workspace::read(&folder.join("package-lock.json"))?;
    let packages = install_once("node", &cache::key_of(&[&manifest, &lock]), |place| {
        let write = |name: &str, text: &str| {
            std::fs::write(place.join(name), text).map_err(|error| format!("{name}: {error}"))
        };
        write("package.json", &manifest)?;
        write("package-lock.json", &lock)?;
        if let Ok(settings) = workspace::read(&workspace::root().join(".npmrc")) {
            write(".npmrc", &settings)?;
        }
        program::run(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(place),
        )
    })?;
    link(&packages.join("node_modules"), &folder.join("node_modules"))
}

/// Installs the Python packages that `requirements` names; returns the interpreter that sees them.
pub(crate) fn python_packages(requirements: &Path) -> Result<PathBuf, String> {
    let wanted = workspace::read(requirements)?;
    let version = program::output_of(Command::new("python3").arg("--version"))?;
    let interpreter = |place: &Path| place.join("bin/python");
    let place = install_once("python", &cache::key_of(&[&version, &wanted]), |place| {
        program::run(Command::new("python3").args(["-m", "venv"]).arg(place))?;
        program::run(
            Command::new(interpreter(place))
                .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
                .arg("--requirement")
                .arg(requirements),
        )
    })?;
    Ok(interpreter(&place))
}

/// The browser that end-to-end tests drive.
pub(crate) fn chromium() -> Option<PathBuf> {
    program::find(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
}

/// Runs `fill` on an empty folder beside `<cache>/<kind>/<key>` and moves it there; an existing one is kept.
pub(crate) fn install_once(
    kind: &str,
    key: &str,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let home = cache::folder()?.join(kind);
    let place = home.join(key);
    if place.is_dir() {
        println!("{kind} packages: there");
        return Ok(place);
    }
    let draft = home.join(format!("{key}.{}", std::process::id()));
    let made = |error: std::io::Error| format!("{}: {error}", draft.display());
    std::fs::create_dir_all(&draft).map_err(made)?;
    let filled = fill(&draft);
    if filled.is_ok() && std::fs::rename(&draft, &place).is_ok() {
        return Ok(place);
    }
    drop(std::fs::remove_dir_all(&draft));
    filled?;
    // Another checkout was faster.
    if place.is_dir() { Ok(place) } else { Err(format!("{} could not be put in place", place.display())) }
}

/// Makes `link` lead to `target`; what somebody may have installed there by hand gives way, as it does to `npm ci`.
pub(crate) fn link(target: &Path, link: &Path) -> Result<(), String> {
    if std::fs::read_link(link).is_ok_and(|leads_to| leads_to == target) {
        return Ok(());
    }
    let cleared = match std::fs::symlink_metadata(link) {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(link),
        Ok(_) => std::fs::remove_file(link),
    };
    cleared
        .and_then(|()| std::os::unix::fs::symlink(target, link))
        .map_err(|error| format!("{}: {error}", link.display()))
}

/// Whether a version such as `v20.11.1` is at least this major and minor number.
fn is_at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

/// Whether we may install packages.
pub(crate) fn is_root() -> bool {
    program::output_of(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_replaces_an_old_link_and_an_old_folder() {
        let place = std::env::temp_dir().join(format!("curfew-xtask-link-{}", std::process::id()));
        let (one, two, entry) = (place.join("one"), place.join("two"), place.join("entry"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        std::fs::create_dir_all(entry.join("deep")).unwrap();
        link(&one, &entry).unwrap();
        assert_eq!(std::fs::read_link(&entry).unwrap(), one, "a folder gave way");
        link(&two, &entry).unwrap();
        assert_eq!(std::fs::read_link(&entry).unwrap(), two, "a link gave way");
        assert!(one.is_dir(), "what the old link led to is untouched");
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn versions_are_compared_by_number() {
        for (version, enough) in [
            ("v20.20.2", true),
            ("v20.11.0", true),
            ("v22.0.0", true),
            ("v20.9.0", false),
            ("v18.20.4", false),
            ("", false),
        ] {
            assert_eq!(is_at_least(version, (20, 11)), enough, "{version}");
        }
    }

    #[test]
    fn our_tools_come_last_on_the_path() {
        let path = path_with_tools().unwrap();
        assert!(std::env::split_paths(&path).last().unwrap().ends_with("tools/bin"));
    }
}
