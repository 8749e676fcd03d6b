//! ONNX `TreeEnsembleRegressor` files, as skl2onnx writes them.
//!
//! The graph may hold that one node, and before it a `Concat` of single-column inputs (a model converted with named
//! columns). The features are the names of those inputs, or those that the file's metadata entry `feature_names` lists,
//! separated by commas. Values are 32-bit floats there: thresholds, leaves and their sum, unlike `forewarner.json`.
//! A graph with any other node computes something we would not: it is refused.

use std::collections::HashMap;

use super::protobuf::{Wire, fields};
use super::{Forewarner, ForewarnerError, Kind, MAX_NODES, Node, Test, features_named, limits};

/// Why reading stopped; becomes a [`ForewarnerError`].
type Read<T> = Result<T, ForewarnerError>;

fn broken(what: impl Into<String>) -> ForewarnerError {
    ForewarnerError::Broken(what.into())
}

/// The attributes of the ensemble by name.
#[derive(Default)]
struct Attributes<'a> {
    ints: HashMap<&'a str, Vec<i64>>,
    floats: HashMap<&'a str, Vec<f64>>,
    texts: HashMap<&'a str, Vec<&'a str>>,
    /// Some values came as 64-bit tensors: then the sum is 64-bit, too.
    doubles: bool,
}

#[derive(Default)]
struct Graph<'a> {
    inputs: Vec<&'a str>,
    nodes: Vec<&'a [u8]>,
    names: Option<&'a str>,
}

/// Loads an ONNX model.
pub(super) fn load(bytes: &[u8]) -> Read<Forewarner> {
    let graph =
        read_graph(bytes).ok_or_else(|| ForewarnerError::Unreadable("not an ONNX file".to_owned()))?;
    let (mut inputs, mut ensemble) = (graph.inputs, None);
    for node in graph.nodes {
        let (op, node_inputs) = op_and_inputs(node).ok_or_else(|| broken("a node is not readable"))?;
        match op {
            "TreeEnsembleRegressor" if ensemble.is_none() => ensemble = Some(node),
            "Concat" if ensemble.is_none() => inputs = node_inputs,
            _ => {
                return Err(broken(format!(
                    "it holds a `{op}` node; only Concat and one TreeEnsembleRegressor are read"
                )));
            }
        }
    }
    let ensemble = ensemble.ok_or_else(|| broken("it holds no TreeEnsembleRegressor"))?;
    let names: Vec<&str> = graph.names.map_or(inputs, |list| list.split(',').map(str::trim).collect());
    let features = features_named(names.iter().copied())?;
    let attributes = read_attributes(ensemble).ok_or_else(|| broken("an attribute is not readable"))?;
    build(&attributes, features)
}

fn read_graph(bytes: &[u8]) -> Option<Graph<'_>> {
    let mut graph = Graph::default();
    let mut body = None;
    fields(bytes, |number, value| {
        match number {
            7 => body = Some(value.bytes()?),
            14 => {
                let (mut key, mut text) = ("", "");
                fields(value.bytes()?, |number, value| {
                    match number {
                        1 => key = value.text()?,
                        2 => text = value.text()?,
                        _ => {}
                    }
                    Some(())
                })?;
                if key == "feature_names" {
                    graph.names = Some(text);
                }
            }
            _ => {}
        }
        Some(())
    })?;
    fields(body?, |number, value| {
        match number {
            1 => graph.nodes.push(value.bytes()?),
            11 => fields(value.bytes()?, |number, value| {
                if number == 1 {
                    graph.inputs.push(value.text()?);
                }
                Some(())
            })?,
            _ => {}
        }
        Some(())
    })?;
    Some(graph)
}

fn op_and_inputs(node: &[u8]) -> Option<(&str, Vec<&str>)> {
    let (mut op, mut inputs) = ("", Vec::new());
    fields(node, |number, value| {
        match number {
            1 => inputs.push(value.text()?),
            4 => op = value.text()?,
            _ => {}
        }
        Some(())
    })?;
    Some((op, inputs))
}

fn read_attributes(node: &[u8]) -> Option<Attributes<'_>> {
    let mut all = Attributes::default();
    fields(
        node,
        |number, value| if number == 5 { read_attribute(value.bytes()?, &mut all) } else { Some(()) },
    )?;
    Some(all)
}

fn read_attribute<'a>(bytes: &'a [u8], all: &mut Attributes<'a>) -> Option<()> {
    let (mut name, mut ints, mut floats, mut texts) = ("", Vec::new(), Vec::new(), Vec::new());
    let mut tensor = None;
    fields(bytes, |number, value| match number {
        1 => {
            name = value.text()?;
            Some(())
        }
        3 | 8 => value.ints(&mut ints),
        2 | 7 => value.floats(&mut floats),
        4 | 9 => {
            texts.push(value.text()?);
            Some(())
        }
        5 => {
            tensor = Some(value.bytes()?);
            Some(())
        }
        _ => Some(()),
    })?;
    if let Some(tensor) = tensor {
        all.doubles |= read_tensor(tensor, &mut floats)?;
        name = name.strip_suffix("_as_tensor").unwrap_or(name);
    }
    all.ints.insert(name, ints);
    all.floats.insert(name, floats);
    all.texts.insert(name, texts);
    Some(())
}

/// Appends a tensor's values; true if they are 64-bit.
fn read_tensor(bytes: &[u8], out: &mut Vec<f64>) -> Option<bool> {
    let (mut kind, mut raw) = (0, None);
    fields(bytes, |number, value| match number {
        2 => {
            kind = value.int()?;
            Some(())
        }
        4 => value.floats(out),
        9 => {
            raw = Some(value);
            Some(())
        }
        10 => value.doubles(out),
        _ => Some(()),
    })?;
    match (kind, raw) {
        (1, Some(raw @ Wire::Bytes(_))) => raw.floats(out)?,
        (11, Some(raw @ Wire::Bytes(_))) => raw.doubles(out)?,
        (1 | 11, None) => {}
        _ => return None,
    }
    Some(kind == 11)
}

/// The columns of the node table, all of one length.
struct Columns<'a> {
    tree: &'a [i64],
    id: &'a [i64],
    feature: &'a [i64],
    mode: &'a [&'a str],
    threshold: &'a [f64],
    yes: &'a [i64],
    no: &'a [i64],
}

fn build(a: &Attributes<'_>, features: Vec<super::Feature>) -> Read<Forewarner> {
    let ints = |name: &str| a.ints.get(name).map_or(&[][..], Vec::as_slice);
    let floats = |name: &str| a.floats.get(name).map_or(&[][..], Vec::as_slice);
    let text = |name: &str| a.texts.get(name).and_then(|t| t.first()).copied();
    let columns = Columns {
        tree: ints("nodes_treeids"),
        id: ints("nodes_nodeids"),
        feature: ints("nodes_featureids"),
        mode: a.texts.get("nodes_modes").map_or(&[][..], Vec::as_slice),
        threshold: floats("nodes_values"),
        yes: ints("nodes_truenodeids"),
        no: ints("nodes_falsenodeids"),
    };
    let n = columns.id.len();
    let lengths = [
        columns.tree.len(),
        columns.feature.len(),
        columns.mode.len(),
        columns.threshold.len(),
        columns.yes.len(),
        columns.no.len(),
    ];
    if lengths.iter().any(|&l| l != n) || n > MAX_NODES {
        return Err(broken("the columns of its nodes differ in length, or are too long"));
    }
    if ints("n_targets").first().is_some_and(|&t| t != 1) || ints("target_ids").iter().any(|&t| t != 0) {
        return Err(broken("it has more than one output"));
    }
    if text("post_transform").is_some_and(|t| t != "NONE") {
        return Err(broken("it transforms its output"));
    }
    let average = match text("aggregate_function") {
        None | Some("SUM") => false,
        Some("AVERAGE") => true,
        Some(other) => return Err(broken(format!("it aggregates by {other}"))),
    };
    let leaves = leaves(ints("target_treeids"), ints("target_nodeids"), floats("target_weights"))?;
    let trees = trees(&columns, &leaves, features.len())?;
    limits(&features, &trees)?;
    let base_value = floats("base_values").first().copied().unwrap_or(0.0);
    let kind = if a.doubles { Kind::OnnxDouble { average } } else { Kind::OnnxSingle { average } };
    Ok(Forewarner { kind, features, base_value, learning_rate: 1.0, trees })
}

/// Weights by tree and node.
fn leaves(trees: &[i64], nodes: &[i64], weights: &[f64]) -> Read<HashMap<(i64, i64), f64>> {
    if trees.len() != nodes.len() || nodes.len() != weights.len() {
        return Err(broken("the columns of its leaves differ in length"));
    }
    let leaves: HashMap<_, _> =
        trees.iter().zip(nodes).zip(weights).map(|((&t, &n), &weight)| ((t, n), weight)).collect();
    if leaves.len() == weights.len() { Ok(leaves) } else { Err(broken("a leaf has two weights")) }
}

/// The trees in the order of their first nodes, each renumbered so that children stand behind their parents.
fn trees(c: &Columns<'_>, leaves: &HashMap<(i64, i64), f64>, features: usize) -> Read<Vec<Vec<Node>>> {
    let mut rows = HashMap::new();
    let mut roots = Vec::new();
    for (row, (&tree, &id)) in c.tree.iter().zip(c.id).enumerate() {
        if rows.insert((tree, id), row).is_some() {
            return Err(broken(format!("tree {tree} has two nodes {id}")));
        }
        // The first node of a tree is its root.
        if roots.last().is_none_or(|&r: &usize| c.tree[r] != tree) {
            roots.push(row);
        }
    }
    let mut used = vec![false; c.id.len()];
    roots.iter().map(|&root| tree(c, root, &rows, leaves, features, &mut used)).collect()
}

fn tree(
    c: &Columns<'_>,
    root: usize,
    rows: &HashMap<(i64, i64), usize>,
    leaves: &HashMap<(i64, i64), f64>,
    features: usize,
    used: &mut [bool],
) -> Read<Vec<Node>> {
    let id = c.tree[root];
    let bad = |what: &str| broken(format!("tree {id}: {what}"));
    let (mut nodes, mut queue) = (Vec::new(), std::collections::VecDeque::from([root]));
    let mut next = 1;
    while let Some(row) = queue.pop_front() {
        // A node reached twice would make a cycle, or a tree of endless size.
        if std::mem::replace(&mut used[row], true) {
            return Err(bad("a node has two parents"));
        }
        let test = match c.mode[row] {
            "LEAF" => {
                let value = leaves.get(&(id, c.id[row])).copied().unwrap_or(0.0);
                nodes.push(Node::Leaf(value));
                continue;
            }
            "BRANCH_LEQ" => Test::Leq,
            "BRANCH_LT" => Test::Lt,
            "BRANCH_GTE" => Test::Gte,
            "BRANCH_GT" => Test::Gt,
            "BRANCH_EQ" => Test::Eq,
            "BRANCH_NEQ" => Test::Neq,
            other => return Err(bad(&format!("unknown node mode {other}"))),
        };
        let child = |child: i64| rows.get(&(id, child)).copied().ok_or_else(|| bad("a child is missing"));
        let feature = u32::try_from(c.feature[row]).ok().filter(|&f| (f as usize) < features);
        let feature = feature.ok_or_else(|| bad("a split on an input that has no name"))?;
        queue.extend([child(c.yes[row])?, child(c.no[row])?]);
        nodes.push(Node::Split { feature, test, threshold: c.threshold[row], left: next, right: next + 1 });
        next += 2;
    }
    Ok(nodes)
}
