//! # countersign-policies: who may do what
//!
//! A site directory (adapters, capabilities, agents, approvers, Cedar policies) becomes a
//! signed bundle, and a bundle becomes an [`Engine`] that decides calls.
//!
//! **May know:** texts, keys' public halves, Cedar, JSON Schema. **Must never know:** clocks,
//! randomness, the network, secrets, results of calls. Only [`site::read`] touches a disk.
//!
//! **Start reading** at [`site`] for what is written by people, [`bundle`] for what is signed,
//! [`decision`] for what goes into a verdict and comes out, [`engine`] for how.
//!
//! ```text
//! site::read → Site::parse → Bundle::build → sign … Bundle::open → Engine::compile
//! call: Engine::capability → Capability::constrain → Facts::of_call → Engine::decide
//! ```

pub mod address;
pub mod bundle;
pub mod constraint;
pub mod content;
pub mod decision;
pub mod endpoint;
pub mod engine;
pub mod example;
pub mod input;
pub mod inspect;
pub mod mangle;
pub mod policy;
pub mod problem;
pub mod schema;
pub mod shape;
pub mod site;
pub mod words;

pub use bundle::{AttachError, Bundle, BundleError, Pins, UnsignedBundle};
pub use constraint::{ConstraintViolation, Rule};
pub use content::Content;
pub use decision::{Facts, Obligations, Outcome, PolicyDecision, StepUp};
pub use engine::{CallFacts, Engine, Viewer};
pub use site::capability::{Capability, Constrained};
pub use site::{Site, SiteFiles};
