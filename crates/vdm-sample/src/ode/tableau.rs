//! Embedded Runge–Kutta pairs as data.

use serde::{Deserialize, Serialize};

/// Which embedded pair takes the steps: one method of order `p` and, from the same model calls, a
/// second of order `p − 1` whose difference from the first estimates the error of the step.
///
/// The higher order wins once the tolerance is tight; a loose tolerance wants few calls per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Pair {
    /// Order 3(2), 3 calls per step: tolerances of 1e-2 to 1e-3 (Bogacki and Shampine 1989).
    #[serde(rename = "bogacki_shampine_32")]
    BogackiShampine32,
    /// Order 5(4), 6 calls per step: the field's usual choice, 1e-3 to 1e-7 (Dormand and Prince
    /// 1980).
    #[default]
    #[serde(rename = "dormand_prince_54")]
    DormandPrince54,
    /// Order 8(7), 13 calls per step: likelihoods and references, 1e-7 and below (Prince and
    /// Dormand 1981, RK8(7)13M).
    #[serde(rename = "prince_dormand_87")]
    PrinceDormand87,
}

/// `k_i = f(u + c_i h, y + h Σ_j a_ij k_j)`, `y⁺ = y + h Σ b_i k_i`, error `h Σ (b_i − b̂_i) k_i`.
#[derive(Debug)]
pub(super) struct Tableau {
    /// Order of `b`; that of `b̂` is one less.
    pub(super) order: u32,
    /// `c`.
    pub(super) nodes: &'static [f64],
    /// The rows of `a`, each as long as its number.
    pub(super) rows: &'static [&'static [f64]],
    /// `b`.
    pub(super) weights: &'static [f64],
    /// `b̂`.
    pub(super) embedded: &'static [f64],
    /// Whether the last stage is the first of the next step (`b` is the last row of `a`).
    pub(super) first_same_as_last: bool,
}

impl Tableau {
    /// `b − b̂`.
    pub(super) fn differences(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().zip(self.embedded).map(|(b, embedded)| b - embedded)
    }
}

impl Pair {
    pub(super) fn tableau(self) -> &'static Tableau {
        match self {
            Self::BogackiShampine32 => &BOGACKI_SHAMPINE_32,
            Self::DormandPrince54 => &DORMAND_PRINCE_54,
            Self::PrinceDormand87 => &PRINCE_DORMAND_87,
        }
    }

    /// Order of the solution that is carried on.
    #[must_use]
    pub fn order(self) -> u32 {
        self.tableau().order
    }

    /// Model calls of an accepted step, after the first.
    #[must_use]
    pub fn calls_per_step(self) -> usize {
        let Tableau { weights, first_same_as_last, .. } = self.tableau();
        weights.len() - usize::from(*first_same_as_last)
    }
}

static BOGACKI_SHAMPINE_32: Tableau = Tableau {
    order: 3,
    nodes: &[0.0, 1.0 / 2.0, 3.0 / 4.0, 1.0],
    rows: &[&[], &[1.0 / 2.0], &[0.0, 3.0 / 4.0], &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0]],
    weights: &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0, 0.0],
    embedded: &[7.0 / 24.0, 1.0 / 4.0, 1.0 / 3.0, 1.0 / 8.0],
    first_same_as_last: true,
};

static DORMAND_PRINCE_54: Tableau = Tableau {
    order: 5,
    nodes: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    rows: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    weights: &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
        0.0,
    ],
    embedded: &[
        5179.0 / 57600.0,
        0.0,
        7571.0 / 16695.0,
        393.0 / 640.0,
        -92097.0 / 339_200.0,
        187.0 / 2100.0,
        1.0 / 40.0,
    ],
    first_same_as_last: true,
};

static PRINCE_DORMAND_87: Tableau = Tableau {
    order: 8,
    nodes: &[
        0.0,
        1.0 / 18.0,
        1.0 / 12.0,
        1.0 / 8.0,
        5.0 / 16.0,
        3.0 / 8.0,
        59.0 / 400.0,
        93.0 / 200.0,
        5_490_023_248.0 / 9_719_169_821.0,
        13.0 / 20.0,
        1_201_146_811.0 / 1_299_019_798.0,
        1.0,
        1.0,
    ],
    rows: &[
        &[],
        &[1.0 / 18.0],
        &[1.0 / 48.0, 1.0 / 16.0],
        &[1.0 / 32.0, 0.0, 3.0 / 32.0],
        &[5.0 / 16.0, 0.0, -75.0 / 64.0, 75.0 / 64.0],
        &[3.0 / 80.0, 0.0, 0.0, 3.0 / 16.0, 3.0 / 20.0],
        &[
            29_443_841.0 / 614_563_906.0,
            0.0,
            0.0,
            77_736_538.0 / 692_538_347.0,
            -28_693_883.0 / 1_125_000_000.0,
            23_124_283.0 / 1_800_000_000.0,
        ],
        &[
            16_016_141.0 / 946_692_911.0,
            0.0,
            0.0,
            61_564_180.0 / 158_732_637.0,
            22_789_713.0 / 633_445_777.0,
            545_815_736.0 / 2_771_057_229.0,
            -180_193_667.0 / 1_043_307_555.0,
        ],
        &[
            39_632_708.0 / 573_591_083.0,
            0.0,
            0.0,
            -433_636_366.0 / 683_701_615.0,
            -421_739_975.0 / 2_616_292_301.0,
            100_302_831.0 / 723_423_059.0,
            790_204_164.0 / 839_813_087.0,
            800_635_310.0 / 3_783_071_287.0,
        ],
        &[
            246_121_993.0 / 1_340_847_787.0,
            0.0,
            0.0,
            -37_695_042_795.0 / 15_268_766_246.0,
            -309_121_744.0 / 1_061_227_803.0,
            -12_992_083.0 / 490_766_935.0,
            6_005_943_493.0 / 2_108_947_869.0,
            393_006_217.0 / 1_396_673_457.0,
            123_872_331.0 / 1_001_029_789.0,
        ],
        &[
            -1_028_468_189.0 / 846_180_014.0,
            0.0,
            0.0,
            8_478_235_783.0 / 508_512_852.0,
            1_311_729_495.0 / 1_432_422_823.0,
            -10_304_129_995.0 / 1_701_304_382.0,
            -48_777_925_059.0 / 3_047_939_560.0,
            15_336_726_248.0 / 1_032_824_649.0,
            -45_442_868_181.0 / 3_398_467_696.0,
            3_065_993_473.0 / 597_172_653.0,
        ],
        &[
            185_892_177.0 / 718_116_043.0,
            0.0,
            0.0,
            -3_185_094_517.0 / 667_107_341.0,
            -477_755_414.0 / 1_098_053_517.0,
            -703_635_378.0 / 230_739_211.0,
            5_731_566_787.0 / 1_027_545_527.0,
            5_232_866_602.0 / 850_066_563.0,
            -4_093_664_535.0 / 808_688_257.0,
            3_962_137_247.0 / 1_805_957_418.0,
            65_686_358.0 / 487_910_083.0,
        ],
        &[
            403_863_854.0 / 491_063_109.0,
            0.0,
            0.0,
            -5_068_492_393.0 / 434_740_067.0,
            -411_421_997.0 / 543_043_805.0,
            652_783_627.0 / 914_296_604.0,
            11_173_962_825.0 / 925_320_556.0,
            -13_158_990_841.0 / 6_184_727_034.0,
            3_936_647_629.0 / 1_978_049_680.0,
            -160_528_059.0 / 685_178_525.0,
            248_638_103.0 / 1_413_531_060.0,
            0.0,
        ],
    ],
    weights: &[
        14_005_451.0 / 335_480_064.0,
        0.0,
        0.0,
        0.0,
        0.0,
        -59_238_493.0 / 1_068_277_825.0,
        181_606_767.0 / 758_867_731.0,
        561_292_985.0 / 797_845_732.0,
        -1_041_891_430.0 / 1_371_343_529.0,
        760_417_239.0 / 1_151_165_299.0,
        118_820_643.0 / 751_138_087.0,
        -528_747_749.0 / 2_220_607_170.0,
        1.0 / 4.0,
    ],
    embedded: &[
        13_451_932.0 / 455_176_623.0,
        0.0,
        0.0,
        0.0,
        0.0,
        -808_719_846.0 / 976_000_145.0,
        1_757_004_468.0 / 5_645_159_321.0,
        656_045_339.0 / 265_891_186.0,
        -3_867_574_721.0 / 1_518_517_206.0,
        465_885_868.0 / 322_736_535.0,
        53_011_238.0 / 667_516_719.0,
        2.0 / 45.0,
        0.0,
    ],
    first_same_as_last: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [Pair; 3] =
        [Pair::BogackiShampine32, Pair::DormandPrince54, Pair::PrinceDormand87];

    /// A rooted tree as the list of what hangs from its root.
    #[derive(Clone, PartialEq, PartialOrd)]
    struct Tree(Vec<Self>);

    impl Tree {
        fn order(&self) -> usize {
            1 + self.0.iter().map(Self::order).sum::<usize>()
        }

        /// `γ`: the order condition reads `Σ b_i Φ_i = 1/γ` (Butcher 1963).
        fn density(&self) -> f64 {
            self.0.iter().fold(self.order() as f64, |product, branch| product * branch.density())
        }

        /// `Φ_i = Π Σ_j a_ij Φ_j(branch)` over the branches.
        fn weight(&self, rows: &[&[f64]], stage: usize) -> f64 {
            self.0
                .iter()
                .map(|branch| {
                    let row = rows[stage].iter().enumerate();
                    row.map(|(j, a)| a * branch.weight(rows, j)).sum::<f64>()
                })
                .product()
        }
    }

    /// All rooted trees with `order` vertices.
    fn trees(order: usize) -> Vec<Tree> {
        forests(order - 1, None).into_iter().map(Tree).collect()
    }

    /// All sets of trees with `vertices` in all, each listed once: no tree above `largest`, and
    /// falling order.
    fn forests(vertices: usize, largest: Option<&Tree>) -> Vec<Vec<Tree>> {
        if vertices == 0 {
            return vec![Vec::new()];
        }
        let mut found = Vec::new();
        for first in (1..=vertices).flat_map(trees) {
            if largest.is_none_or(|largest| first <= *largest) {
                for rest in forests(vertices - first.order(), Some(&first)) {
                    found.push([vec![first.clone()], rest].concat());
                }
            }
        }
        found
    }

    #[test]
    fn rooted_trees_are_counted_right() {
        let counts: Vec<usize> = (1..=8).map(|order| trees(order).len()).collect();
        assert_eq!(counts, [1, 1, 2, 4, 9, 20, 48, 115]); // OEIS A000081
    }

    /// The largest defect of the order conditions of one order.
    fn defect(rows: &[&[f64]], weights: &[f64], order: usize) -> f64 {
        trees(order)
            .iter()
            .map(|tree| {
                let sum: f64 =
                    weights.iter().enumerate().map(|(i, b)| b * tree.weight(rows, i)).sum();
                (sum - 1.0 / tree.density()).abs()
            })
            .fold(0.0, f64::max)
    }

    /// All 200 conditions to order 8. 1e-15 is the rounding of sums of terms up to 15; the 8(7) pair
    /// is published as fractions that are right to about 1e-17 of such terms: 1e-14.
    #[test]
    fn every_pair_satisfies_its_order_conditions_and_no_more() {
        for pair in PAIRS {
            let tableau = pair.tableau();
            for (weights, order) in
                [(tableau.weights, tableau.order), (tableau.embedded, tableau.order - 1)]
            {
                let order = order as usize;
                for below in 1..=order {
                    let found = defect(tableau.rows, weights, below);
                    assert!(found < 1e-14, "{pair:?}, order {below} of {order}: {found:e}");
                }
                let next = defect(tableau.rows, weights, order + 1);
                assert!(next > 1e-8, "{pair:?} has more than order {order}: {next:e}");
            }
        }
    }

    #[test]
    fn rows_add_up_to_nodes_and_the_last_is_the_first_where_said() {
        for pair in PAIRS {
            let Tableau { nodes, rows, weights, first_same_as_last, .. } = pair.tableau();
            for (i, (node, row)) in nodes.iter().zip(*rows).enumerate() {
                assert_eq!(row.len(), i, "{pair:?}: an explicit method");
                // Entries of the 8(7) pair reach 17, its fractions are right to 1e-17 of them.
                assert!((row.iter().sum::<f64>() - node).abs() < 1e-14, "{pair:?}, row {i}");
            }
            let last = rows[rows.len() - 1];
            assert_eq!(&weights[..last.len()] == last, *first_same_as_last, "{pair:?}");
        }
    }
}
