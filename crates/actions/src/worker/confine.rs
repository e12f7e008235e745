//! What the child gives up before it hears of any tenant.

use curfew_model::Entropy as _;
use serde::{Deserialize, Serialize};

/// How far a wall stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforced {
    /// All of it.
    Fully,
    /// As much as this kernel knows.
    Partly,
    /// Nothing.
    Not,
}

/// Which walls stand around a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Files and sockets, by landlock.
    pub landlock: Enforced,
    /// System calls, by seccomp.
    pub seccomp: Enforced,
    /// Memory, descriptors, processes, files, core dumps.
    pub limits: Enforced,
}

impl Confinement {
    /// Whether everything is as it should be.
    pub fn is_whole(&self) -> bool {
        *self == Self { landlock: Enforced::Fully, seccomp: Enforced::Fully, limits: Enforced::Fully }
    }
}

/// One of the walls around a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// Nothing stays open but standard input, output and error.
    Descriptors,
    /// It ends with its parent, and nobody looks into it.
    Parent,
    /// Limits of the process.
    Limits,
    /// Files and sockets.
    Landlock,
    /// System calls. The last one: it forbids to put up others.
    Seccomp,
}

impl Wall {
    /// All of them, in the order in which they are put up.
    pub const ALL: [Self; 5] = [Self::Descriptors, Self::Parent, Self::Limits, Self::Landlock, Self::Seccomp];
}

/// Address space beside what the program takes when it starts.
const ADDRESS_SPACE_BYTES: u64 = 1 << 30;
/// Standard input is the socket; standard output and error lead nowhere.
const DESCRIPTORS: u64 = 3;
/// So that the server goes first where both want the processor.
const NICENESS: i32 = 5;
/// How long a worker may compute at a stretch. Whoever is content with less, as everybody else is, need not wait for its
/// end (`sched_setattr(2)`, since Linux 6.12): the share of the processor stays the same, and the server's few steps for a
/// request are not each held up by a worker's.
#[cfg(target_os = "linux")]
const STRETCH_NS: u64 = 20_000_000;

/// Puts walls up. What does not stand is told, not fatal: the parent says it out loud. A worker has [`Wall::ALL`]; each stands
/// without the others, as tests show.
pub fn put_up(walls: &[Wall]) -> Confinement {
    let put_up = |wall, put_up: &dyn Fn() -> Enforced| {
        if walls.contains(&wall) { put_up() } else { Enforced::Not }
    };
    if walls.contains(&Wall::Descriptors) {
        close_descriptors();
    }
    if walls.contains(&Wall::Parent) {
        end_with_parent();
    }
    go_behind();
    // Libraries look around at their first use: now, while the kernel still answers.
    curfew_model::SystemEntropy.fill(&mut [0; 16]);
    let address_space = address_space_bytes();
    let landlock = put_up(Wall::Landlock, &no_files);
    let limits = put_up(Wall::Limits, &|| limit_resources(address_space));
    let seccomp = put_up(Wall::Seccomp, &few_calls);
    Confinement { landlock, seccomp, limits }
}

/// Lets the server go first. What a kernel does not know of it costs time, and no wall.
#[cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "no safe interface asks for a stretch of the processor")
)]
fn go_behind() {
    let Ok(niceness) = rustix::process::nice(NICENESS) else { return };
    #[cfg(target_os = "linux")]
    {
        let attributes = libc::sched_attr {
            size: size_of::<libc::sched_attr>() as u32,
            sched_policy: libc::SCHED_OTHER.cast_unsigned(),
            sched_flags: 0,
            sched_nice: niceness,
            sched_priority: 0,
            sched_runtime: STRETCH_NS,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the structure is read during the call, and says itself how long it is. The first 0 is this process.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

/// Closes what the parent, or whoever started it, forgot to keep to itself.
#[expect(unsafe_code, reason = "a descriptor by its number can be closed in no other way")]
fn close_descriptors() {
    let Ok(folder) = std::fs::read_dir("/dev/fd") else { return };
    let open: Vec<i32> = folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|open| *open > 2)
        .collect();
    for descriptor in open {
        // SAFETY: this thread is the only one and has opened nothing yet, so nobody owns these. (The folder's own
        // is closed already, which is then an error that nobody looks at.)
        unsafe { libc::close(descriptor) };
    }
}

/// The kernel ends this process with the thread that started it.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal,
        };
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // Nor do others of the same user read its memory.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// What the program takes already.
fn address_space_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').next()?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

fn limit_resources(address_space: Option<u64>) -> Enforced {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit =
        |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).is_ok();
    let all = [
        address_space.is_some_and(|taken| limit(Resource::As, taken.saturating_add(ADDRESS_SPACE_BYTES))),
        limit(Resource::Nofile, DESCRIPTORS),
        limit(Resource::Nproc, 0),
        limit(Resource::Core, 0),
        limit(Resource::Fsize, 0),
    ];
    match all.iter().filter(|stands| **stands).count() {
        0 => Enforced::Not,
        count if count == all.len() => Enforced::Fully,
        _ => Enforced::Partly,
    }
}

#[cfg(not(target_os = "linux"))]
fn no_files() -> Enforced {
    Enforced::Not
}

/// No file may be opened, no address connected to, no process outside signalled.
#[cfg(target_os = "linux")]
fn no_files() -> Enforced {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus, Scope,
    };
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?;
        Ok(rules.create()?.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Enforced::Fully,
        Ok(RulesetStatus::PartiallyEnforced) => Enforced::Partly,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Enforced::Not,
    }
}

#[cfg(not(target_os = "linux"))]
fn few_calls() -> Enforced {
    Enforced::Not
}

/// The kernel answers the calls that computing takes, and refuses every other.
#[cfg(target_os = "linux")]
fn few_calls() -> Enforced {
    let apply = || -> Result<(), Box<dyn std::error::Error>> {
        let program = filter()?;
        Ok(seccompiler::apply_filter(&program)?)
    };
    if apply().is_ok() { Enforced::Fully } else { Enforced::Not }
}

#[cfg(target_os = "linux")]
fn filter() -> Result<seccompiler::BpfProgram, Box<dyn std::error::Error>> {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    // An empty list of rules allows a call whatever its arguments are.
    let mut rules = std::collections::BTreeMap::new();
    for call in [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_gettimeofday,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_ppoll,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_setitimer,
        libc::SYS_sigaltstack,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
    ] {
        rules.insert(call, Vec::new());
    }
    let only = |argument, operator, value| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        Ok(vec![SeccompRule::new(vec![SeccompCondition::new(argument, Dword, operator, value)?])?])
    };
    // The socket, and nothing else.
    for call in [libc::SYS_read, libc::SYS_write] {
        rules.insert(call, only(0, SeccompCmpOp::Eq, 0)?);
    }
    // Memory, but none that could be run.
    let executable = libc::PROT_EXEC.cast_unsigned().into();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, only(2, SeccompCmpOp::MaskedEq(executable), 0)?);
    }
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter =
        SeccompFilter::new(rules, refused, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "no safe interface tells what a thread asked for")]
    fn whoever_computes_goes_behind() {
        // What is asked for is the thread's own, and ends with it.
        let asked = std::thread::spawn(|| {
            go_behind();
            // SAFETY: numbers alone, for which nothing is a value.
            let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::sched_attr>();
            // SAFETY: so many bytes are written at most.
            let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, size, 0) };
            assert_eq!(answer, 0);
            (found.sched_nice, found.sched_runtime)
        });
        let (niceness, stretch) = asked.join().unwrap();
        assert!(niceness >= NICENESS, "{niceness}");
        // Before Linux 6.12 nobody knows of it.
        assert!(stretch == STRETCH_NS || stretch == 0, "{stretch}");
    }
}
