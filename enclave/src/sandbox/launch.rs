//! `countersign sandbox-exec PLAN -- PROGRAM …`: confines itself, tells how far, and becomes the program.
//!
//! In: the plan, and what the gateway gave a program: streams, environment, process group. Out: one line on the error
//! stream with the layers that are in force, and with it the proxy's listening socket; then nothing of the launcher is left.
//! A layer that is required and cannot be had ends it, with a line that says why.
//!
//! ORDER: the network is left first, which takes rights that the rest gives up; then limits, then the user; Landlock needs
//! `no_new_privs`; seccomp comes last, because it refuses what the steps before it do.

use super::plan::Plan;
use super::{calls, files, inherited, network};
use anyhow::{Context as _, ensure};
use countersign_policies::site::sandbox::{Layer, Limits, Network};
use rustix::fd::AsFd as _;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, getuid, setrlimit};
use serde_json::json;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The exit status of a launcher that started nothing, as shells have it for a program that cannot be run.
const NOT_STARTED: u8 = 126;

/// Becomes the program; returns only if it does not.
#[must_use]
pub fn launch(plan: &str, program: &[OsString]) -> ExitCode {
    let Err(error) = confined(plan, program);
    let line = json!({ "refused": format!("{error:#}") });
    // With nobody left to tell, there is only the exit status.
    let _unheard = tell(&line, None);
    ExitCode::from(NOT_STARTED)
}

fn confined(plan: &str, program: &[OsString]) -> anyhow::Result<Infallible> {
    let plan: Plan = serde_json::from_str(plan).context("plan")?;
    let (program, arguments) = program.split_first().context("no program")?;
    inherited::close_at_execution()?;
    let mut layers = InForce::new(&plan);
    let own_network = layers.took(Layer::NetworkNamespace, network::leave())?;
    let proxy = match plan.network {
        Network::Proxy => Some(network::listen()?),
        Network::None => None,
    };
    let as_user = getuid().is_root();
    layers.took(Layer::Limits, limit(&plan.limits, as_user || own_network))?;
    layers.took(Layer::User, change_user(plan.uid))?;
    rustix::thread::set_no_new_privs(true).context("no_new_privs")?;
    // A working directory of the gateway's is not the program's.
    std::env::set_current_dir("/").context("/")?;
    let port = proxy.as_ref().map(|(_, port)| *port);
    match files::confine(&plan.read, &plan.write, port)? {
        Some(version) => layers.say(Layer::Landlock, &format!("/{version}")),
        None => layers.missing(Layer::Landlock, "this kernel has none")?,
    }
    let sockets = match plan.network {
        Network::None => calls::Sockets::None,
        Network::Proxy => calls::Sockets::Streams,
    };
    layers.took(Layer::Seccomp, calls::confine(sockets))?;
    tell(
        &json!({ "layers": layers.names }),
        proxy.as_ref().map(|(listener, _)| listener),
    )?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(port) = port {
        let address = format!("http://127.0.0.1:{port}");
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env(name, &address);
        }
        // Node takes note of these variables only if it is told to.
        command.env("NODE_USE_ENV_PROXY", "1");
    }
    drop(proxy);
    Err(command.exec()).context("program")
}

/// What is in force so far.
struct InForce<'p> {
    plan: &'p Plan,
    names: Vec<String>,
}

impl<'p> InForce<'p> {
    fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            names: Vec::new(),
        }
    }

    fn say(&mut self, layer: Layer, more: &str) {
        self.names.push(format!("{}{more}", layer.name()));
    }

    /// Whether a layer is in force.
    fn took(&mut self, layer: Layer, outcome: anyhow::Result<()>) -> anyhow::Result<bool> {
        match outcome {
            Ok(()) => {
                self.say(layer, "");
                Ok(true)
            }
            Err(error) => {
                self.missing(layer, &format!("{error:#}"))?;
                Ok(false)
            }
        }
    }

    fn missing(&self, layer: Layer, why: &str) -> anyhow::Result<()> {
        ensure!(
            !self.plan.required.contains(&layer),
            "the profile requires the layer {}, which cannot be had here: {why}",
            layer.name()
        );
        Ok(())
    }
}

/// Root is whoever starts a gateway in its image; as anybody else there is no other user to become.
fn change_user(uid: u32) -> anyhow::Result<()> {
    ensure!(getuid().is_root(), "the gateway does not run as root");
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    rustix::thread::set_thread_groups(&[]).context("groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).context("user")?;
    ensure!(getuid() == uid, "the user did not change");
    Ok(())
}

fn limit(limits: &Limits, counts_its_own: bool) -> anyhow::Result<()> {
    let Limits {
        memory_bytes,
        processes,
        open_files,
        cpu_seconds,
        file_bytes,
    } = *limits;
    // What a program had in memory when it crashed is nobody's to read.
    at_most(Resource::Core, Some(0))?;
    at_most(Resource::Data, memory_bytes)?;
    at_most(Resource::Nofile, open_files)?;
    at_most(Resource::Cpu, cpu_seconds)?;
    at_most(Resource::Fsize, file_bytes)?;
    ensure!(
        processes.is_none() || counts_its_own,
        "processes are counted by user, and this user has others"
    );
    at_most(Resource::Nproc, processes)
}

fn at_most(resource: Resource, limit: Option<u64>) -> anyhow::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let maximum = getrlimit(resource).maximum.map_or(limit, |m| m.min(limit));
    let limit = Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    setrlimit(resource, limit).with_context(|| format!("{resource:?}"))
}

/// One line to the gateway, and with it the socket that is the gateway's.
fn tell(line: &serde_json::Value, listener: Option<&TcpListener>) -> anyhow::Result<()> {
    let text = format!("{line}\n");
    let stream = std::io::stderr();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = listener.map(|listener| [listener.as_fd()]);
    if let Some(files) = &files {
        let pushed = ancillary.push(SendAncillaryMessage::ScmRights(files));
        ensure!(pushed, "the proxy's socket cannot be handed over");
    }
    let slices = [IoSlice::new(text.as_bytes())];
    let sent = sendmsg(stream.as_fd(), &slices, &mut ancillary, SendFlags::empty())?;
    ensure!(sent == text.len(), "the gateway does not listen");
    Ok(())
}
