//! The edge daemon: reads meters, seals every reading where it is taken, keeps and forwards it.

pub mod buffer;
pub mod checks;
pub mod clock;
pub mod config;
pub mod durable;
pub mod faults;
pub mod identity;
pub mod inspect;
pub mod journal;
pub mod log;
pub mod modbus;
pub mod mqtt;
pub mod plan;
pub mod recorder;
pub mod read_once;
pub mod sample;
pub mod sampling;
pub mod seal;
mod sqlite;
pub mod timeline;
