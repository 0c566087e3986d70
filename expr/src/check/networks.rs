//! `cidr("10.0.0.0/8").containsIP(transaction.ip_address)`: whether an address is of a network.

use std::ops::Range;

use super::{Checker, Typed};
use crate::network::Network;
use crate::syntax::{Call, Syntax, SyntaxKind};
use crate::tree::Node;
use crate::{Problem, Type};

pub(super) const CIDR: &str = "cidr";
pub(super) const CONTAINS_IP: &str = "containsIP";

impl Checker<'_> {
    /// `network.containsIP(address)`, where the network is a call of `cidr`.
    pub(super) fn network(
        &mut self,
        network: &Call,
        call: &Call,
        span: Range<usize>,
    ) -> Option<Typed> {
        let parsed = self.network_written(network);
        if call.name.text != CONTAINS_IP {
            let message = format!("a network has no function `{}`", call.name.text);
            let help = "write `cidr(\"…\").containsIP(transaction.ip_address)`";
            return self.fail(Problem::error(call.name.span.clone(), message).with_help(help));
        }
        let [address] = self.arguments(call)?;
        let address = self.expression(address)?;
        let slot = self.text_read(&address, CONTAINS_IP)?;
        Some(Typed::new(Type::Flag, Node::InNetwork(parsed?, slot), span))
    }

    /// `cidr(…)` without anything after it.
    pub(super) fn network_alone(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let network = self.network_written(call)?;
        let problem = Problem::error(span, "a network is not a value by itself");
        self.fail(problem.with_help(containing(&network.to_string())))
    }

    fn network_written(&mut self, call: &Call) -> Option<Network> {
        let [argument] = self.arguments(call)?;
        let span = argument.span.clone();
        let SyntaxKind::Text(text) = &argument.kind else {
            let problem = Problem::error(span, "`cidr` takes a network in quotes");
            return self.fail(problem.with_help("write a network such as \"10.0.0.0/8\""));
        };
        match Network::parse(text) {
            Ok(network) => Some(network),
            Err(error) => {
                let help = error.help();
                self.fail(Problem::error(span, error.to_string()).with_help(help))
            }
        }
    }

    /// A text that is a network, compared with an address as if the two could be equal.
    pub(super) fn refuse_network(&mut self, value: &Typed, other: &Syntax) -> Option<()> {
        let SyntaxKind::Text(text) = &other.kind else {
            return Some(());
        };
        let is_address = value.field == Some(tollgate_types::builtin::IP_ADDRESS);
        if !is_address || !text.contains('/') {
            return Some(());
        }
        let message = format!("\"{text}\" is a network, and no address equals one");
        let help = containing(text);
        self.fail(Problem::error(other.span.clone(), message).with_help(help))
    }
}

/// How to ask for a network.
pub(super) fn containing(network: &str) -> String {
    format!("write `cidr(\"{network}\").containsIP(transaction.ip_address)`")
}
