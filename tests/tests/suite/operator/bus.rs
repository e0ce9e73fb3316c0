//! The operator on the bus: whatever goes between gateway and TPM passes here.
//!
//! In: a machine whose gateway is not running. Out: a rule of the test's is asked before each command: it may
//! look at the machine at that very moment, let the command through, or cut the connection before
//! or after the TPM has carried it out.

use countersign_platform::TpmAddress;
use countersign_tests::machine::Machine;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// `TPM_CC_NV_Increment`. Source: TPM 2.0 Part 2, table 12.
pub(crate) const NV_INCREMENT: u32 = 0x134;
/// `TPM_CC_NV_Certify`.
pub(crate) const NV_CERTIFY: u32 = 0x184;

/// Bytes of a command's or an answer's header: tag, size, code.
const HEADER: usize = 10;

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It reaches the TPM, and the answer comes back.
    Through,
    /// It does not reach the TPM; the connection breaks.
    Cut,
    /// It reaches the TPM; the answer does not come back.
    CutAnswer,
}

type Rule = Box<dyn FnMut(u32) -> Pass + Send>;

/// A bus whose rule a test can change at any time.
#[derive(Clone)]
pub(crate) struct Bus(Arc<Mutex<Rule>>);

impl Bus {
    /// Puts itself between a machine's gateway and its TPM.
    pub(crate) fn tap(machine: &Machine) -> Self {
        let TpmAddress::Tcp { port, .. } = machine.tpm_address() else {
            panic!("a software TPM has a port");
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tapped = listener.local_addr().unwrap().port();
        let settings = machine.site();
        settings.edit(
            &format!("swtpm:127.0.0.1:{port}"),
            &format!("swtpm:127.0.0.1:{tapped}"),
        );
        let this = Self(Arc::new(Mutex::new(Box::new(|_| Pass::Through))));
        let bus = this.clone();
        std::thread::spawn(move || {
            // One connection at a time, as the TPM itself has it.
            for client in listener.incoming().flatten() {
                // Either side may end a connection at any time.
                let _ended = bus.carry(client, port);
            }
        });
        this
    }

    /// From now on, this rule.
    pub(crate) fn set(&self, rule: impl FnMut(u32) -> Pass + Send + 'static) {
        *self.0.lock().unwrap() = Box::new(rule);
    }

    /// Lets everything through, and calls `then` before the `number`th command (from 1) with this code.
    pub(crate) fn at(&self, code: u32, number: usize, then: impl FnOnce() + Send + 'static) {
        let (mut seen, mut then) = (0, Some(then));
        self.set(move |found| {
            if found == code {
                seen += 1;
                if seen == number
                    && let Some(then) = then.take()
                {
                    then();
                }
            }
            Pass::Through
        });
    }

    fn carry(&self, mut client: TcpStream, port: u16) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        tpm.set_nodelay(true)?;
        loop {
            let (code, command) = message(&mut client)?;
            let pass = (self.0.lock().unwrap())(code);
            if pass == Pass::Cut {
                return Ok(());
            }
            tpm.write_all(&command)?;
            let (_, answer) = message(&mut tpm)?;
            if pass == Pass::CutAnswer {
                return Ok(());
            }
            client.write_all(&answer)?;
        }
    }
}

/// A whole command or answer, and the code in its header.
fn message(from: &mut TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let mut out = vec![0; HEADER];
    from.read_exact(&mut out)?;
    let number = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().unwrap());
    let (size, code) = (usize::try_from(number(2)).unwrap(), number(6));
    out.resize(size.max(HEADER), 0);
    from.read_exact(&mut out[HEADER..])?;
    Ok((code, out))
}
