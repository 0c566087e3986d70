//! Writes models byte by byte, so that they can be wrong in ways that no exporter writes.

/// A protobuf message.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn whole(mut self, number: u64, value: u64) -> Self {
        self.varint(number << 3);
        self.varint(value);
        self
    }

    pub(crate) fn bytes(mut self, number: u64, bytes: &[u8]) -> Self {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, number: u64, text: &str) -> Self {
        self.bytes(number, text.as_bytes())
    }

    pub(crate) fn message(self, number: u64, message: &Self) -> Self {
        self.bytes(number, &message.0)
    }

    pub(crate) fn all(self, number: u64, messages: &[Self]) -> Self {
        messages
            .iter()
            .fold(self, |whole, message| whole.message(number, message))
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT64: u64 = 7;
pub(crate) const BOOL: u64 = 9;

/// A size that is not fixed.
pub(crate) const FREE: i64 = -1;

/// An input or output.
pub(crate) fn value(name: &str, element: u64, shape: &[i64]) -> Message {
    let dimension = |size: &i64| match *size {
        FREE => Message::default().text(2, "N"),
        size => Message::default().whole(1, size as u64),
    };
    let dimensions: Vec<Message> = shape.iter().map(dimension).collect();
    let shape = Message::default().all(1, &dimensions);
    let tensor = Message::default().whole(1, element).message(2, &shape);
    let kind = Message::default().message(1, &tensor);
    Message::default().text(1, name).message(2, &kind)
}

/// A tensor whose data are these bytes, whatever its shape says.
pub(crate) fn tensor(name: &str, element: u64, shape: &[i64], data: &[u8]) -> Message {
    let dimensions = shape.iter();
    dimensions
        .fold(Message::default(), |tensor, size| {
            tensor.whole(1, *size as u64)
        })
        .whole(2, element)
        .text(8, name)
        .bytes(9, data)
}

pub(crate) fn floats(name: &str, shape: &[i64], values: &[f32]) -> Message {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(name, FLOAT, shape, &data)
}

pub(crate) fn wholes(name: &str, shape: &[i64], values: &[i64]) -> Message {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor(name, INT64, shape, &data)
}

/// A tensor with its data in another file.
pub(crate) fn elsewhere(name: &str, shape: &[i64], location: &str) -> Message {
    let entry = Message::default().text(1, "location").text(2, location);
    let dimensions = shape.iter();
    dimensions
        .fold(Message::default(), |tensor, size| {
            tensor.whole(1, *size as u64)
        })
        .whole(2, FLOAT)
        .text(8, name)
        .message(13, &entry)
        .whole(14, 1)
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let with_inputs = inputs
        .iter()
        .fold(Message::default(), |node, name| node.text(1, name));
    let with_outputs = outputs
        .iter()
        .fold(with_inputs, |node, name| node.text(2, name));
    with_outputs.text(4, operator)
}

impl Message {
    /// The operator set of a node.
    pub(crate) fn of_set(self, domain: &str) -> Self {
        self.text(7, domain)
    }

    pub(crate) fn with_wholes(self, name: &str, values: &[i64]) -> Self {
        let attribute = values
            .iter()
            .fold(Message::default().text(1, name), |attribute, value| {
                attribute.whole(8, *value as u64)
            });
        self.message(5, &attribute.whole(20, 7))
    }

    pub(crate) fn with_whole(self, name: &str, value: i64) -> Self {
        let attribute = Message::default().text(1, name).whole(3, value as u64);
        self.message(5, &attribute.whole(20, 2))
    }

    pub(crate) fn with_floats(self, name: &str, values: &[f32]) -> Self {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let attribute = Message::default().text(1, name).bytes(7, &data);
        self.message(5, &attribute.whole(20, 6))
    }

    pub(crate) fn with_texts(self, name: &str, values: &[&str]) -> Self {
        let attribute = values
            .iter()
            .fold(Message::default().text(1, name), |attribute, value| {
                attribute.text(9, value)
            });
        self.message(5, &attribute.whole(20, 8))
    }

    pub(crate) fn with_graph(self, name: &str, graph: &Message) -> Self {
        let attribute = Message::default().text(1, name).message(6, graph);
        self.message(5, &attribute.whole(20, 5))
    }
}

pub(crate) fn graph(
    nodes: &[Message],
    constants: &[Message],
    inputs: &[Message],
    outputs: &[Message],
) -> Message {
    Message::default()
        .all(1, nodes)
        .text(2, "graph")
        .all(5, constants)
        .all(11, inputs)
        .all(12, outputs)
}

/// A model of a graph, with the operator sets that exporters use today.
pub(crate) fn model(graph: &Message) -> Message {
    model_of_opset(graph, 17)
}

pub(crate) fn model_of_opset(graph: &Message, version: u64) -> Message {
    let onnx = Message::default().text(1, "").whole(2, version);
    let ml = Message::default().text(1, "ai.onnx.ml").whole(2, 3);
    Message::default()
        .whole(1, 8)
        .message(8, &onnx)
        .message(8, &ml)
        .message(7, graph)
}
