//! Drawings of models, made from the factors themselves.

use super::{Graph, Hlvm};

impl<P, Q> Hlvm<P, Q> {
    /// The model as a figure in Graphviz' language: observed nodes shaded, generation in solid
    /// edges, inference in dashed ones. `name` gives a node its label.
    ///
    /// ```
    /// use vdm_core::hlvm::{Graph, Hlvm, layered};
    /// let decoder = layered::generative(vec![vec![()], vec![()]]);
    /// let vae = Hlvm::new(decoder, layered::bottom_up(1, vec![vec![()]]))?;
    /// let figure = vae.to_dot(|node| ["x", "z"][node].to_owned());
    /// assert!(figure.contains(r#""z" -> "x";"#));
    /// assert!(figure.contains(r#""x" -> "z" [style=dashed];"#));
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn to_dot(&self, name: impl Fn(usize) -> String) -> String {
        let shaded = self.observed().iter().map(|x| format!("  {:?} [style=filled];\n", name(*x)));
        let solid = edges(self.generative(), "", &name);
        let dashed = edges(self.inference(), " [style=dashed]", &name);
        let lines: String = shaded.chain(solid).chain(dashed).collect();
        format!("digraph {{\n{lines}}}\n")
    }
}

fn edges<F>(
    graph: &Graph<F>,
    style: &str,
    name: &impl Fn(usize) -> String,
) -> impl Iterator<Item = String> {
    graph
        .edges()
        .map(move |(parent, child)| format!("  {:?} -> {:?}{style};\n", name(parent), name(child)))
}
