//! The files on pypi.org that make up a libtorch, each pinned to its SHA-256.
//!
//! The wheels are those for Python 3.11, whatever Python fetches them: only their libraries and
//! headers are used. The lean set takes from them what a CPU run loads: `libtorch_cpu.so` itself
//! asks for the CUDA run time and CUPTI, two small libraries that need no GPU.

use crate::libtorch;

/// Which set of files is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// What a CPU run loads: 544 MB to fetch, 522 MB kept.
    Cpu,
    /// With every NVIDIA library that libtorch's CUDA part loads: 2.5 GB to fetch, 3.9 GB kept.
    Cuda,
}

/// One pinned wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    package: &'static str,
    /// `None`: the version of libtorch itself.
    version: Option<&'static str>,
    bytes: u64,
    sha256: &'static str,
}

const fn nvidia(
    package: &'static str,
    version: &'static str,
    bytes: u64,
    sha256: &'static str,
) -> Wheel {
    Wheel { package, version: Some(version), bytes, sha256 }
}

const TORCH: Wheel = Wheel {
    package: "torch",
    version: None,
    bytes: 530_604_548,
    sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
};

const CPU: [Wheel; 3] = [
    TORCH,
    nvidia(
        "nvidia-cuda-runtime",
        "13.0.96",
        2_243_632,
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    ),
    nvidia(
        "nvidia-cuda-cupti",
        "13.0.85",
        10_715_597,
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    ),
];

const CUDA_ONLY: [Wheel; 13] = [
    nvidia(
        "nvidia-cublas",
        "13.1.0.3",
        423_133_236,
        "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
    ),
    nvidia(
        "nvidia-cuda-nvrtc",
        "13.0.88",
        90_215_200,
        "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    ),
    nvidia(
        "nvidia-cudnn-cu13",
        "9.19.0.56",
        366_066_321,
        "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
    ),
    nvidia(
        "nvidia-cufft",
        "12.0.0.61",
        214_085_489,
        "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    ),
    nvidia(
        "nvidia-cufile",
        "1.15.1.6",
        1_223_672,
        "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    ),
    nvidia(
        "nvidia-curand",
        "10.4.0.35",
        59_544_258,
        "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    ),
    nvidia(
        "nvidia-cusolver",
        "12.0.4.66",
        200_941_980,
        "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    ),
    nvidia(
        "nvidia-cusparse",
        "12.6.3.3",
        145_942_937,
        "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    ),
    nvidia(
        "nvidia-cusparselt-cu13",
        "0.8.0",
        169_884_119,
        "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
    ),
    nvidia(
        "nvidia-nccl-cu13",
        "2.28.9",
        196_493_177,
        "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
    ),
    nvidia(
        "nvidia-nvjitlink",
        "13.0.88",
        40_713_933,
        "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
    ),
    nvidia(
        "nvidia-nvshmem-cu13",
        "3.4.5",
        60_412_546,
        "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    ),
    nvidia(
        "nvidia-nvtx",
        "13.0.85",
        148_047,
        "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
    ),
];

/// What a run on the processor loads.
const CPU_LIBRARIES: [&str; 5] = [
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];

impl Variant {
    pub(crate) const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// The folder's name in the cache.
    pub(crate) fn folder(self) -> String {
        let device = match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        };
        format!("libtorch-{}-{device}", libtorch::VERSION)
    }

    /// Bytes of disk needed while installing: the wheels, their copy by pip, and what is unpacked.
    pub(crate) fn disk_bytes(self) -> u64 {
        match self {
            Self::Cpu => 1_200_000_000,
            Self::Cuda => 8_000_000_000,
        }
    }

    /// Bytes that will have been unpacked.
    pub(crate) fn unpacked_bytes(self) -> u64 {
        match self {
            Self::Cpu => 496_572_975,
            Self::Cuda => 3_837_880_748,
        }
    }

    /// Bytes to fetch.
    pub(crate) fn download_bytes(self) -> u64 {
        self.wheels().map(|wheel| wheel.bytes).sum()
    }

    /// A requirements file for `pip --require-hashes`.
    pub(crate) fn requirements(self) -> String {
        self.wheels()
            .map(|wheel| {
                let version = wheel.version.unwrap_or(libtorch::VERSION);
                format!("{}=={version} --hash=sha256:{}\n", wheel.package, wheel.sha256)
            })
            .collect()
    }

    /// Whether a wheel's file is unpacked.
    pub(crate) fn keeps(self, member: &str) -> bool {
        let library = member.contains(".so");
        let header = member.starts_with("torch/include/");
        match self {
            Self::Cpu => header || CPU_LIBRARIES.contains(&member),
            Self::Cuda => {
                header
                    || member.starts_with("torch/lib/") && library
                    || member.starts_with("nvidia/") && (library || member.ends_with(".h"))
            }
        }
    }

    /// The hash of the list of all unpacked files with theirs: what [`crate::manifest`] verifies.
    pub(crate) fn files_sha256(self) -> &'static str {
        match self {
            Self::Cpu => "a3f9a5a2db28407bc4e90b45e7ef61300aee50b656b04344104c4f81341bf591",
            Self::Cuda => "b07bbf0ea030dafcf9d31ccbdacc70426119e5f21c7c0171c9d9e4019fa9289e",
        }
    }

    fn wheels(self) -> impl Iterator<Item = &'static Wheel> {
        let more: &[Wheel] = match self {
            Self::Cpu => &[],
            Self::Cuda => &CUDA_ONLY,
        };
        CPU.iter().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_to_a_version_and_a_whole_hash() {
        for variant in Variant::ALL {
            for line in variant.requirements().lines() {
                let (pin, hash) = line.split_once(" --hash=sha256:").expect(line);
                assert!(pin.contains("=="), "{line}");
                assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
            }
        }
    }

    #[test]
    fn libraries_and_headers_are_kept_and_nothing_that_python_runs() {
        for both in
            ["torch/include/ATen/ATen.h", "torch/lib/libc10.so", "nvidia/cu13/lib/libcudart.so.13"]
        {
            assert!(Variant::ALL.iter().all(|variant| variant.keeps(both)), "{both}");
        }
        for full in [
            "torch/lib/libtorch_cuda.so",
            "nvidia/cudnn/lib/libcudnn.so.9",
            "nvidia/cu13/include/cuda.h",
        ] {
            assert!(Variant::Cuda.keeps(full) && !Variant::Cpu.keeps(full), "{full}");
        }
        for neither in [
            "torch/__init__.py",
            "torch/bin/protoc",
            "../torch/lib/libc10.so",
            "torch-2.dist-info/RECORD",
        ] {
            assert!(!Variant::ALL.iter().any(|variant| variant.keeps(neither)), "{neither}");
        }
    }

    #[test]
    fn the_lean_set_is_part_of_the_full_one() {
        let full = Variant::Cuda.requirements();
        assert!(Variant::Cpu.requirements().lines().all(|line| full.contains(line)));
        assert_eq!(full.lines().count(), 16);
    }
}
