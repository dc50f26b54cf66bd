//! The edge daemon: reads meters, seals every reading where it is taken, keeps and forwards it.

pub mod sample;
