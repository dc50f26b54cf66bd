//! The simulated site and what the end-to-end tests share.
//!
//! Nothing in the project depends on this package, and it promises nothing to anybody but the
//! tests and the demo. The plant is a pure function of time ([`site`]); its meters are a table
//! ([`registers`]); the sockets in front of them are real ([`modbus_server`], [`broker`],
//! [`mqtt_publisher`], all of them together in [`plant`]), and some are other people's ([`peers`]).

pub mod between;
pub mod broker;
pub mod commands;
pub mod demo;
pub mod fuzz;
pub mod gateway_config;
pub mod history;
pub mod modbus_server;
pub mod mqtt_publisher;
pub mod peers;
pub mod plant;
pub mod processes;
pub mod profile;
pub mod registers;
pub mod site;
