//! The fence around system calls: what our programs never ask of the kernel is refused (Linux' seccomp).
//!
//! A list of what is refused, not of what is allowed: a new release of the C library must not stop a program. Refused are
//! programs, other processes' memory, mounts and namespaces, loading code into the kernel, other users, the clock, and
//! sockets that the program has no use for.
//!
//! Specification: seccomp(2). x86-64 and 64-bit ARM.

use std::collections::BTreeMap;

use libc as c;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// Refused whatever its arguments are.
const REFUSED: &[i64] = &[
    // other programs, other processes
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_ptrace,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_pidfd_getfd,
    c::SYS_kcmp,
    // mounts and namespaces
    c::SYS_mount,
    c::SYS_umount2,
    c::SYS_pivot_root,
    c::SYS_chroot,
    c::SYS_move_mount,
    c::SYS_open_tree,
    c::SYS_fsopen,
    c::SYS_fsconfig,
    c::SYS_fsmount,
    c::SYS_fspick,
    c::SYS_mount_setattr,
    c::SYS_unshare,
    c::SYS_setns,
    c::SYS_open_by_handle_at,
    c::SYS_mknodat,
    // the kernel itself, and its roomiest doors
    c::SYS_init_module,
    c::SYS_finit_module,
    c::SYS_delete_module,
    c::SYS_kexec_load,
    c::SYS_kexec_file_load,
    c::SYS_bpf,
    c::SYS_perf_event_open,
    c::SYS_userfaultfd,
    c::SYS_io_uring_setup,
    c::SYS_io_uring_enter,
    c::SYS_io_uring_register,
    c::SYS_add_key,
    c::SYS_request_key,
    c::SYS_keyctl,
    // the machine
    c::SYS_reboot,
    c::SYS_swapon,
    c::SYS_swapoff,
    c::SYS_sethostname,
    c::SYS_setdomainname,
    c::SYS_syslog,
    c::SYS_acct,
    c::SYS_quotactl,
    c::SYS_settimeofday,
    c::SYS_clock_settime,
    c::SYS_adjtimex,
    c::SYS_clock_adjtime,
    c::SYS_vhangup,
    c::SYS_personality,
    // other users
    c::SYS_setuid,
    c::SYS_setgid,
    c::SYS_setreuid,
    c::SYS_setregid,
    c::SYS_setresuid,
    c::SYS_setresgid,
    c::SYS_setfsuid,
    c::SYS_setfsgid,
    c::SYS_setgroups,
    c::SYS_capset,
];

/// What only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[c::SYS_iopl, c::SYS_ioperm, c::SYS_modify_ldt, c::SYS_mknod];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The same calls have other numbers in the x32 form of x86-64: this bit, and some of their own (execve, ptrace, kexec_load,
/// process_vm_readv, process_vm_writev, execveat).
const X32: i64 = 0x4000_0000;
const X32_ONLY: [i64; 6] = [520, 521, 528, 539, 540, 545];

const NAMESPACES: [c::c_int; 7] = [
    c::CLONE_NEWNS,
    c::CLONE_NEWUTS,
    c::CLONE_NEWIPC,
    c::CLONE_NEWUSER,
    c::CLONE_NEWPID,
    c::CLONE_NEWNET,
    c::CLONE_NEWCGROUP,
];

/// Which sockets a program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// Local ones: it has no network.
    Local,
    /// TCP/IP too, and how the C library learns of network interfaces.
    Network,
}

impl Sockets {
    const fn families(self) -> &'static [c::c_int] {
        match self {
            Self::Local => &[c::AF_UNIX],
            Self::Network => &[c::AF_UNIX, c::AF_INET, c::AF_INET6, c::AF_NETLINK],
        }
    }
}

pub(super) fn confine(sockets: Sockets) -> Result<&'static str, String> {
    let said = |error: seccompiler::Error| error.to_string();
    // Its flags lie in memory, where no filter looks; told that it does not exist, the C library calls `clone` instead.
    let newer = Rules::from([(c::SYS_clone3, Vec::new())]);
    apply_filter(&program(newer, c::ENOSYS).map_err(said)?).map_err(said)?;
    apply_filter(&program(refused(sockets).map_err(said)?, c::EPERM).map_err(said)?).map_err(said)?;
    Ok("seccomp")
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused(sockets: Sockets) -> Result<Rules, seccompiler::Error> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    let of_namespaces = NAMESPACES.map(|flag| {
        let flag = number(flag);
        SeccompRule::new(vec![argument(SeccompCmpOp::MaskedEq(flag), flag)?])
    });
    rules.insert(c::SYS_clone, of_namespaces.into_iter().collect::<Result<_, _>>()?);
    let families = sockets.families().iter();
    let none_of_these =
        families.map(|family| argument(SeccompCmpOp::Ne, number(*family))).collect::<Result<_, _>>()?;
    rules.insert(c::SYS_socket, vec![SeccompRule::new(none_of_these)?]);
    if cfg!(target_arch = "x86_64") {
        let also: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
        rules.extend(also);
        rules.extend(X32_ONLY.map(|call| (call | X32, Vec::new())));
    }
    Ok(rules)
}

/// A condition on the first argument.
fn argument(is: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, is, value)
}

fn number(constant: c::c_int) -> u64 {
    u64::from(constant.unsigned_abs())
}

fn program(rules: Rules, refusal: c::c_int) -> Result<BpfProgram, seccompiler::Error> {
    let refusal = SeccompAction::Errno(refusal.unsigned_abs());
    let here = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refusal, here)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: u32 = 0x7fff_0000;
    const REFUSED_EPERM: u32 = 0x0005_0000 | 1;
    const KILLED: u32 = 0x8000_0000;
    #[cfg(target_arch = "x86_64")]
    const HERE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const HERE: u32 = 0xc000_00b7;

    /// What the kernel would make of a call: the few instructions that such a filter is made of (linux/filter.h).
    fn verdict(program: &BpfProgram, arch: u32, call: i64, first: u64) -> u32 {
        let word = |offset: u32| match offset {
            0 => u32::try_from(call).unwrap(),
            4 => arch,
            16 => u32::try_from(first & 0xffff_ffff).unwrap(),
            20 => u32::try_from(first >> 32).unwrap(),
            other => panic!("offset {other}"),
        };
        let (mut at, mut held) = (0, 0);
        loop {
            let one = &program[at];
            at += 1;
            let jump = |is: bool| usize::from(if is { one.jt } else { one.jf });
            match one.code {
                0x20 => held = word(one.k),
                0x54 => held &= one.k,
                0x15 => at += jump(held == one.k),
                0x25 => at += jump(held > one.k),
                0x35 => at += jump(held >= one.k),
                0x05 => at += usize::try_from(one.k).unwrap(),
                0x06 => return one.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn filter(sockets: Sockets) -> BpfProgram {
        program(refused(sockets).unwrap(), c::EPERM).unwrap()
    }

    #[test]
    fn every_call_of_the_list_is_refused_and_in_its_x32_form_too() {
        let filter = filter(Sockets::Network);
        for call in REFUSED.iter().chain(REFUSED_HERE) {
            assert_eq!(verdict(&filter, HERE, *call, 0), REFUSED_EPERM, "{call}");
            if cfg!(target_arch = "x86_64") {
                assert_eq!(verdict(&filter, HERE, call | X32, 0), REFUSED_EPERM, "{call} as x32");
            }
        }
        for call in X32_ONLY.iter().filter(|_| cfg!(target_arch = "x86_64")) {
            assert_eq!(verdict(&filter, HERE, call | X32, 0), REFUSED_EPERM, "{call} of x32");
        }
        // With the numbers of another architecture (those of 32-bit x86) nobody gets past it.
        assert_eq!(verdict(&filter, 0x4000_0003, 11, 0), KILLED);
    }

    #[test]
    fn what_a_gateway_does_is_allowed() {
        let filter = filter(Sockets::Network);
        for call in [c::SYS_read, c::SYS_openat, c::SYS_fdatasync, c::SYS_linkat, c::SYS_futex, c::SYS_mmap] {
            assert_eq!(verdict(&filter, HERE, call, 0), ALLOWED, "{call}");
        }
        let thread = c::CLONE_VM | c::CLONE_FS | c::CLONE_FILES | c::CLONE_SIGHAND | c::CLONE_THREAD;
        assert_eq!(verdict(&filter, HERE, c::SYS_clone, number(thread)), ALLOWED);
        for family in Sockets::Network.families() {
            assert_eq!(verdict(&filter, HERE, c::SYS_socket, number(*family)), ALLOWED, "{family}");
        }
    }

    #[test]
    fn namespaces_and_other_sockets_are_refused() {
        let filter = filter(Sockets::Network);
        for flag in NAMESPACES {
            let flags = number(c::CLONE_VM) | number(flag);
            assert_eq!(verdict(&filter, HERE, c::SYS_clone, flags), REFUSED_EPERM, "{flag:#x}");
        }
        for family in [c::AF_PACKET, c::AF_VSOCK, c::AF_ALG, c::AF_BLUETOOTH, c::AF_XDP, c::AF_KEY] {
            assert_eq!(verdict(&filter, HERE, c::SYS_socket, number(family)), REFUSED_EPERM, "{family}");
            // The kernel looks at 32 bits of it only.
            let beyond = number(family) | (1 << 40);
            assert_eq!(verdict(&filter, HERE, c::SYS_socket, beyond), REFUSED_EPERM, "{family}");
        }
        let local = self::filter(Sockets::Local);
        assert_eq!(verdict(&local, HERE, c::SYS_socket, number(c::AF_UNIX)), ALLOWED);
        for family in [c::AF_INET, c::AF_INET6, c::AF_NETLINK, c::AF_PACKET] {
            assert_eq!(verdict(&local, HERE, c::SYS_socket, number(family)), REFUSED_EPERM, "{family}");
        }
        let newer = program(Rules::from([(c::SYS_clone3, Vec::new())]), c::ENOSYS).unwrap();
        assert_eq!(verdict(&newer, HERE, c::SYS_clone3, 0), 0x0005_0000 | c::ENOSYS.unsigned_abs());
    }
}
