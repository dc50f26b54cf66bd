//! Names and containers of the evidence bundle.
