//! Runs against the walls that are named, as code would that has taken a worker over, and says on standard input, which is a
//! socket, what came of each attempt: a name and the system's error, zero where it went through.

use std::process::ExitCode;

use curfew_actions::worker::{Wall, put_up};

pub(crate) fn main(walls: &[String]) -> ExitCode {
    let named = |wall: &Wall| walls.iter().any(|name| *name == format!("{wall:?}").to_lowercase());
    let walls: Vec<Wall> = Wall::ALL.into_iter().filter(named).collect();
    // What is known to whoever was here before the walls were.
    let known = kernel::Known::new();
    put_up(&walls);
    kernel::attempt_all(&known);
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(crate) struct Known;

    impl Known {
        pub(crate) fn new() -> Self {
            Self
        }
    }

    pub(crate) fn attempt_all(_: &Known) {}
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::ffi::{CStr, c_long, c_void};
    use std::fmt::Write as _;
    use std::io;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    use std::ptr::null_mut;

    /// The parent, and a page of memory.
    pub(crate) struct Known {
        parent: c_long,
        page: *mut c_void,
    }

    const NOWHERE: c_long = -1;
    /// Bit of the numbers of the other calling convention of x86-64.
    const X32: c_long = 0x4000_0000;
    const PAGE: usize = 4096;
    const PASSWD: &CStr = c"/etc/passwd";

    #[expect(unsafe_code, reason = "whoever has taken the process over asks the kernel directly")]
    fn call(number: c_long, arguments: [c_long; 6]) -> Result<c_long, io::Error> {
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: no call here is given memory of this process but by pointers to what outlives it.
        match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
            -1 => Err(io::Error::last_os_error()),
            value => Ok(value),
        }
    }

    fn text(text: &CStr) -> c_long {
        text.as_ptr() as c_long
    }

    impl Known {
        #[expect(unsafe_code, reason = "a page of memory is had from the system")]
        pub(crate) fn new() -> Self {
            let (read_write, private) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: new memory, which nothing else lies in.
            let page = unsafe { libc::mmap(null_mut(), PAGE, read_write, private, -1, 0) };
            Self { parent: c_long::from(std::os::unix::process::parent_id().cast_signed()), page }
        }
    }

    pub(crate) fn attempt_all(known: &Known) {
        left_open();
        files();
        network(known.parent);
        others(known.parent);
        memory(known.page as c_long);
        kernel(known.page as c_long);
        itself(known.page as c_long);
        #[cfg(target_arch = "x86_64")]
        if std::env::args().any(|argument| argument == "foreign") {
            foreign();
        }
        say("end", 0);
    }

    /// On the one descriptor that a worker may write to.
    fn say(name: &str, value: c_long) {
        let mut line = String::new();
        let _ = writeln!(line, "{name} {value}");
        let _ = call(libc::SYS_write, [0, line.as_ptr() as c_long, line.len() as c_long, 0, 0, 0]);
    }

    fn tried<T>(name: &str, outcome: Result<T, io::Error>) {
        say(name, c_long::from(outcome.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)));
    }

    fn attempt(name: &str, number: c_long, arguments: &[c_long]) {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        tried(name, call(number, all));
    }

    /// Before anything here is opened.
    fn left_open() {
        for descriptor in 0..100 {
            if call(libc::SYS_fcntl, [descriptor, 1, 0, 0, 0, 0]).is_ok() {
                say(&format!("open_{descriptor}"), 0);
            }
        }
    }

    fn files() {
        let here = c_long::from(libc::AT_FDCWD);
        for (name, path) in
            [("openat", PASSWD), ("openat_environment", c"/proc/self/environ"), ("openat_folder", c"/")]
        {
            attempt(name, libc::SYS_openat, &[here, text(path), c_long::from(libc::O_CLOEXEC)]);
        }
        let mut stat = [0_u8; 256];
        attempt("newfstatat", libc::SYS_newfstatat, &[here, text(PASSWD), stat.as_mut_ptr() as c_long]);
        attempt(
            "readlinkat",
            libc::SYS_readlinkat,
            &[here, text(c"/proc/self/exe"), stat.as_mut_ptr() as c_long, 200],
        );
        attempt("mkdirat", libc::SYS_mkdirat, &[here, text(c"/nowhere/folder"), 0o700]);
        attempt("name_to_handle_at", libc::SYS_name_to_handle_at, &[here, text(PASSWD)]);
        attempt("chroot", libc::SYS_chroot, &[text(c"/nowhere")]);
        attempt("mount", libc::SYS_mount, &[text(c"none"), text(c"/nowhere"), text(c"none")]);
    }

    fn network(parent: c_long) {
        let stream = c_long::from(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
        let datagram = c_long::from(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC);
        for (name, family, kind) in [
            ("socket_tcp", libc::AF_INET, stream),
            ("socket_tcp6", libc::AF_INET6, stream),
            ("socket_udp", libc::AF_INET, datagram),
            ("socket_unix", libc::AF_UNIX, stream),
            ("socket_netlink", libc::AF_NETLINK, datagram),
        ] {
            attempt(name, libc::SYS_socket, &[c_long::from(family), kind]);
        }
        let mut pair = [0_i32; 2];
        attempt(
            "socketpair",
            libc::SYS_socketpair,
            &[c_long::from(libc::AF_UNIX), stream, 0, pair.as_mut_ptr() as c_long],
        );
        tried("connect_tcp", std::net::TcpStream::connect(("127.0.0.1", 9)));
        tried("bind_tcp", std::net::TcpListener::bind(("127.0.0.1", 0)));
        let name = SocketAddr::from_abstract_name(format!("curfew-walls-{parent}"));
        tried("connect_abstract", name.and_then(|name| UnixStream::connect_addr(&name)));
        let mut header = [0_u8; 128];
        attempt(
            "recvmsg",
            libc::SYS_recvmsg,
            &[0, header.as_mut_ptr() as c_long, c_long::from(libc::MSG_DONTWAIT)],
        );
        attempt("sendmsg", libc::SYS_sendmsg, &[NOWHERE, header.as_mut_ptr() as c_long]);
    }

    #[expect(unsafe_code, reason = "a process is made by nothing else")]
    fn others(parent: c_long) {
        attempt("kill", libc::SYS_kill, &[parent, 0]);
        attempt("tgkill", libc::SYS_tgkill, &[parent, parent, 0]);
        attempt("pidfd_open", libc::SYS_pidfd_open, &[parent]);
        attempt("pidfd_getfd", libc::SYS_pidfd_getfd, &[NOWHERE]);
        attempt("ptrace", libc::SYS_ptrace, &[0x4206, parent]);
        let mut found = 0_u8;
        let own = libc::iovec { iov_base: (&raw mut found).cast(), iov_len: 1 };
        let other = libc::iovec { iov_base: null_mut(), iov_len: 1 };
        let (own, other) = (&raw const own as c_long, &raw const other as c_long);
        attempt("process_vm_readv", libc::SYS_process_vm_readv, &[parent, own, 1, other, 1]);
        attempt("process_vm_writev", libc::SYS_process_vm_writev, &[parent, own, 1, other, 1]);
        let memory = std::ffi::CString::new(format!("/proc/{parent}/mem")).unwrap_or_default();
        attempt(
            "openat_parent",
            libc::SYS_openat,
            &[c_long::from(libc::AT_FDCWD), text(&memory), c_long::from(libc::O_CLOEXEC)],
        );
        // SAFETY: this thread is the only one, and the child does nothing but end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it ends without doing anything else.
            unsafe { libc::_exit(0) };
        }
        tried("fork", if child < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
        tried("thread", std::thread::Builder::new().spawn(|| ()));
        attempt("execve", libc::SYS_execve, &[text(c"/nowhere/program"), 0, 0]);
        attempt(
            "execveat",
            libc::SYS_execveat,
            &[NOWHERE, text(c""), 0, 0, c_long::from(libc::AT_EMPTY_PATH)],
        );
    }

    fn memory(page: c_long) {
        let (run, private) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let (run, private, size) = (c_long::from(run), c_long::from(private), PAGE as c_long);
        attempt("mmap_executable", libc::SYS_mmap, &[0, size, run, private, NOWHERE, 0]);
        attempt("mprotect_executable", libc::SYS_mprotect, &[page, size, run]);
        attempt("pkey_mprotect", libc::SYS_pkey_mprotect, &[page, size, run, NOWHERE]);
        attempt("memfd_create", libc::SYS_memfd_create, &[text(c"curfew")]);
        attempt("userfaultfd", libc::SYS_userfaultfd, &[0]);
        attempt("shmget", libc::SYS_shmget, &[0, 0, 0]);
        // Address space, of which there is an end.
        let (write, lazily) = (
            c_long::from(libc::PROT_READ | libc::PROT_WRITE),
            c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE),
        );
        attempt("large", libc::SYS_mmap, &[0, 3 << 30, write, lazily, NOWHERE, 0]);
        attempt("small", libc::SYS_mmap, &[0, 256 << 20, write, lazily, NOWHERE, 0]);
    }

    fn kernel(page: c_long) {
        for (name, number, arguments) in [
            ("io_uring_setup", libc::SYS_io_uring_setup, [1, page, 0, 0]),
            ("perf_event_open", libc::SYS_perf_event_open, [page, 0, NOWHERE, NOWHERE]),
            ("bpf", libc::SYS_bpf, [0, page, 8, 0]),
            ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0]),
            ("add_key", libc::SYS_add_key, [0, 0, 0, 0]),
            ("request_key", libc::SYS_request_key, [0, 0, 0, 0]),
            ("unshare", libc::SYS_unshare, [0, 0, 0, 0]),
            ("setns", libc::SYS_setns, [NOWHERE, 0, 0, 0]),
            ("seccomp", libc::SYS_seccomp, [0xffff, 0, 0, 0]),
            ("timer_create", libc::SYS_timer_create, [NOWHERE, 0, 0, 0]),
            ("personality", libc::SYS_personality, [0xffff_ffff, 0, 0, 0]),
            ("sysinfo", libc::SYS_sysinfo, [page, 0, 0, 0]),
            ("uname", libc::SYS_uname, [page, 0, 0, 0]),
            ("no_such_call", 100_000, [0, 0, 0, 0]),
            #[cfg(target_arch = "x86_64")]
            ("x32_read", X32, [0, page, 0, 0]),
            #[cfg(target_arch = "x86_64")]
            ("x32_getpid", X32 | libc::SYS_getpid, [0, 0, 0, 0]),
        ] {
            attempt(name, number, &arguments);
        }
    }

    fn itself(page: c_long) {
        let asked = |number, arguments| call(number, arguments).unwrap_or(-1);
        say("is_dumpable", asked(libc::SYS_prctl, [3, 0, 0, 0, 0, 0]));
        let mut signal = 0_i32;
        asked(libc::SYS_prctl, [2, &raw mut signal as c_long, 0, 0, 0, 0]);
        say("signal_of_death", signal.into());
        for (name, resource) in [
            ("limit_address_space", libc::RLIMIT_AS),
            ("limit_descriptors", libc::RLIMIT_NOFILE),
            ("limit_processes", libc::RLIMIT_NPROC),
            ("limit_dumps", libc::RLIMIT_CORE),
            ("limit_files", libc::RLIMIT_FSIZE),
        ] {
            let mut limit = [u64::MAX; 2];
            let all = [0, c_long::from(resource), 0, limit.as_mut_ptr() as c_long, 0, 0];
            asked(libc::SYS_prlimit64, all);
            // The second number is the one that cannot be raised again.
            say(name, limit[1].cast_signed());
        }
        for (name, number, arguments) in [
            ("prctl_dumpable", libc::SYS_prctl, [4, 0, 0, 0]),
            ("prctl_parent", libc::SYS_prctl, [1, 0, 0, 0]),
            ("prlimit64", libc::SYS_prlimit64, [0, 7, 0, page]),
            ("dup", libc::SYS_dup, [0, 0, 0, 0]),
            ("fcntl", libc::SYS_fcntl, [0, 1, 0, 0]),
            ("ioctl", libc::SYS_ioctl, [0, 0x541b, page, 0]),
            ("read_output", libc::SYS_read, [1, page, 0, 0]),
            ("write_output", libc::SYS_write, [1, page, 0, 0]),
            ("write_error", libc::SYS_write, [2, page, 0, 0]),
            ("getpid", libc::SYS_getpid, [0, 0, 0, 0]),
            ("sched_setaffinity", libc::SYS_sched_setaffinity, [0, 0, 0, 0]),
        ] {
            attempt(name, number, &arguments);
        }
    }

    /// The calls of 32-bit programs, which have other numbers.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "there is no other way to this door")]
    fn foreign() {
        say("foreign", 0);
        // SAFETY: call 20 there is `getpid`: it takes nothing and changes nothing.
        unsafe { std::arch::asm!("int 0x80", inout("eax") 20 => _, options(nostack)) };
    }
}
