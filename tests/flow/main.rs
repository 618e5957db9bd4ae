//! Whole payments without sockets: bytes and a clock in, bytes out.

mod allocations;
mod apart;
mod bench;
mod callbacks;
mod explain;
mod fifth;
mod golden;
mod highhelp;
mod inquiry;
mod invoices;
mod payments;
mod qostiq;
mod refusals;
mod repeats;
mod splicing;
mod threeds;
