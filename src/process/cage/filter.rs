//! System calls that a database server has no use for, and that reach what Landlock does not guard: sockets of
//! any kind but its own, modes and owners of files, other processes, the kernel's own machinery.

use std::collections::BTreeMap;

use anyhow::Result;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// They end with EPERM.
const REFUSED: &[i64] = &[
    // Sockets of others; what goes by io_uring is seen by no filter.
    libc::SYS_connect,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgget,
    libc::SYS_semget,
    // Files: owners, attributes, times, and what knows a file by something else than its name.
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SYS_SETXATTRAT,
    SYS_REMOVEXATTRAT,
    SYS_FILE_SETATTR,
    libc::SYS_utimensat,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Mounts, name spaces and the rest of the kernel.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    // What others do with files.
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    // A file without a name is run whatever Landlock says.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
];
/// Those that not every architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_inotify_init,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];
/// They do nothing and say that they did: a server sets the mode of its own socket so, which is right already.
const PRETENDED: &[i64] = &[libc::SYS_fchmodat, SYS_FCHMODAT2];
#[cfg(target_arch = "x86_64")]
const PRETENDED_HERE: &[i64] = &[libc::SYS_chmod];
#[cfg(not(target_arch = "x86_64"))]
const PRETENDED_HERE: &[i64] = &[];
/// Newer ones have one number everywhere; the library need not know them yet.
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_FILE_SETATTR: i64 = 469;
/// `clone` with these makes name spaces (clone(2)): mounts, cgroups, UTS, IPC, users, processes, networks, time.
const NEW_SPACES: [u64; 8] = [1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 7];
/// What of the type of a socket says its kind; the rest are flags (socket(2)).
const SOCKET_TYPE: u64 = 0xf;
/// What is done by shmctl(2): `IPC_RMID` and `IPC_STAT`.
const SHM_REMOVE: u64 = 0;
const SHM_ASK: u64 = 2;
/// The second set of numbers of an x86-64 kernel (x32) has this bit.
const X32: i64 = 0x4000_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters the system calls of this process and all it becomes; false where this build can't.
pub(super) fn apply(refuses_truncate: bool) -> Result<bool> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    let refused = refused(refuses_truncate)?;
    let pretended = whole([PRETENDED, PRETENDED_HERE]);
    // Its words lie in memory, out of a filter's sight; what is told that it is not there uses `clone`.
    let unknown = whole([&[libc::SYS_clone3], &[]]);
    for (rules, errno) in [(unknown, libc::ENOSYS), (pretended, 0), (refused, libc::EPERM)] {
        let action = SeccompAction::Errno(u32::try_from(errno)?);
        let filter = SeccompFilter::new(with_x32(rules), SeccompAction::Allow, action, arch)?;
        let program: BpfProgram = filter.try_into()?;
        if let Err(error) = seccompiler::apply_filter(&program) {
            log::debug!("system calls are not filtered: {error}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn whole(lists: [&[i64]; 2]) -> Rules {
    lists.concat().into_iter().map(|number| (number, Vec::new())).collect()
}

fn refused(refuses_truncate: bool) -> Result<Rules> {
    let mut rules = whole([REFUSED, REFUSED_HERE]);
    if refuses_truncate {
        rules.insert(libc::SYS_truncate, Vec::new());
    }
    // A server listens on a socket of this kind, and no other is made.
    let (unix, stream) = (u64::try_from(libc::AF_UNIX)?, u64::try_from(libc::SOCK_STREAM)?);
    let sockets = || -> Result<Vec<SeccompRule>> {
        let mut sockets = vec![rule(0, SeccompCmpOp::Ne, unix)?];
        for other in (0..=SOCKET_TYPE).filter(|other| *other != stream) {
            sockets.push(rule(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), other)?);
        }
        Ok(sockets)
    };
    rules.insert(libc::SYS_socket, sockets()?);
    rules.insert(libc::SYS_socketpair, sockets()?);
    let spaces = NEW_SPACES.into_iter().map(|flag| rule(0, SeccompCmpOp::MaskedEq(flag), flag));
    rules.insert(libc::SYS_clone, spaces.collect::<Result<_>>()?);
    // A server asks about segments of memory, and removes its own.
    let shared = [SHM_REMOVE, SHM_ASK]
        .map(|what| SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, what));
    let [remove, ask] = shared;
    rules.insert(libc::SYS_shmctl, vec![SeccompRule::new(vec![remove?, ask?])?]);
    // Of themselves processes may ask.
    rules.insert(libc::SYS_prlimit64, vec![rule(0, SeccompCmpOp::Ne, 0)?]);
    rules.insert(libc::SYS_sched_setaffinity, vec![rule(0, SeccompCmpOp::Ne, 0)?]);
    Ok(rules)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])?)
}

/// The same for the numbers of x32.
fn with_x32(rules: Rules) -> Rules {
    if cfg!(not(target_arch = "x86_64")) {
        return rules;
    }
    let twins: Rules = rules.iter().map(|(number, rules)| (number | X32, rules.clone())).collect();
    rules.into_iter().chain(twins).collect()
}
