"""The methods that are a configuration of PEFT and nothing else, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from bench import Choice, LogRange

from . import fitted


@dataclass(frozen=True)
class Rates:
    """Learning rates of methods that train the same kind of thing."""

    low: float
    high: float
    default: float


# Ranges hold the rates of published recipes and, above them, those that small models need.
WEIGHTS = Rates(1e-6, 1e-2, 1e-4)
"""Entries of the model's own weights: 2e-5 of full fine-tuning (Ouyang et al. 2022 and after) to
the 3e-4 of SHiRA in PEFT's comparison on MetaMathQA.
"""
DIRECTIONS = Rates(1e-6, 1e-1, 5e-5)
"""Singular vectors and values: 1e-5 and 5e-5 in OSF, 2504.07097, 5e-5 in PEFT's comparison."""
LOW_RANK = Rates(1e-5, 1e-1, 2e-4)
"""Factors or small networks beside the weights: 2e-4 of LoRA, 2106.09685, and QLoRA, 2305.14314, to
the 4.5e-3 of HiRA in PEFT's comparison.
"""
VECTORS = Rates(1e-4, 1.0, 5e-3)
"""Few numbers that scale, turn or shift what is frozen: 1e-3 of RoAd, 2409.00119, and 3e-3 of
(IA)³, 2205.05638, to rates above a tenth, where the numbers begin at zero or are very few.
"""
CONVOLUTIONS = Rates(1e-2, 1e1, 3e-1)
"""Kernels of circular convolutions: 3e-1 in PEFT's comparison of C³A, 2407.19342."""
PROMPTS = Rates(1e-3, 1.0, 3e-2)
"""Embeddings in front of the text: 3e-1 of prompt tuning, 2104.08691, §3."""
KEYS_VALUES = Rates(1e-3, 3.0, 1e-2)
"""Keys and values in front of the text, learned directly: 5e-3 … 1e-2 in P-tuning v2, 2110.07602,
and PEFT's comparison; the paper's 5e-5, 2101.00190, are of the network that it learns them through.
"""

Size = tuple[Any, Any]
"""Annotation and default of a hyper-parameter."""


def whole(default: int, choices: tuple[int, ...], description: str) -> Size:
    return Annotated[int, Choice(choices), Field(gt=0, description=description)], default


def real(default: float, range: LogRange, description: str) -> Size:
    return Annotated[float, range, Field(gt=0, description=description)], default


def share(default: float, choices: tuple[float, ...], description: str) -> Size:
    return Annotated[float, Choice(choices), Field(gt=0, lt=1, description=description)], default


def rank(default: int, *choices: int) -> dict[str, Size]:
    return {"r": whole(default, choices or (4, 8, 16, 32, 64), "rank of the update")}


def scaled(default: int) -> dict[str, Size]:
    return {"alpha": whole(default, (8, 16, 32, 64), "the update is scaled by alpha / r")}


LORA = rank(8) | {
    "lora_alpha": whole(16, (8, 16, 32, 64), "the update is scaled by lora_alpha / r")
}
TOKENS = {
    "num_virtual_tokens": whole(20, (5, 10, 20, 50), "learned positions in front of the text")
}
LINEAR: Mapping[str, Any] = {"target_modules": "all-linear"}


@dataclass(frozen=True)
class Row:
    """One method: a configuration class of `peft` and what it is given."""

    name: str
    config: str
    line: str
    """What the method is, in a sentence."""
    reference: str
    rates: Rates
    sizes: Mapping[str, Size] = field(default_factory=dict)
    """Hyper-parameters beside the learning rate, under PEFT's names."""
    settings: Mapping[str, Any | Callable[..., Any]] = field(default_factory=lambda: LINEAR)
    """Fixed arguments; a function gets session and model."""
    lr: float | None = None
    """Default learning rate where the paper or PEFT's comparison on MetaMathQA used one far from
    the family's.
    """
    family: str = "parameter-efficient"

    @property
    def rate(self) -> Size:
        return real(
            self.lr or self.rates.default,
            LogRange(self.rates.low, self.rates.high),
            "peak learning rate of AdamW",
        )


def lora(
    name: str, line: str, reference: str, sizes: Mapping[str, Size] = LORA, **settings: Any
) -> Row:
    return Row(name, "LoraConfig", line, reference, LOW_RANK, sizes, {**LINEAR, **settings})


# fmt: off
LORA_VARIANTS = (
    lora("dora", "LoRA for the direction of each weight, and a learned length.",
        "Liu et al. 2024, DoRA, 2402.09353", use_dora=True),
    lora("rslora", "LoRA scaled by alpha over the square root of the rank.",
        "Kalajdzievski 2023, rsLoRA, 2312.03732", use_rslora=True),
    lora("pissa", "LoRA that starts from the largest singular directions of each weight.",
        "Meng et al. 2024, PiSSA, 2404.02948", init_lora_weights="pissa"),
    lora("olora", "LoRA that starts from the QR decomposition of each weight.",
        "Büyükakyüz 2024, OLoRA, 2406.01775", init_lora_weights="olora"),
    lora("lora-orthogonal", "LoRA whose factors start orthogonal.",
        "peft.LoraConfig(init_lora_weights='orthogonal')", init_lora_weights="orthogonal"),
    lora("mica", "LoRA on the smallest left singular directions of each weight, which stay frozen.",
        "MiCA, 2604.01694", init_lora_weights="mica"),
    lora("lora-gaussian", "LoRA whose first factor starts Gaussian.",
        "peft.LoraConfig(init_lora_weights='gaussian')", init_lora_weights="gaussian"),
    lora("lora-bias", "LoRA with a learned bias behind its second factor.",
        "peft.LoraConfig(lora_bias=True)", lora_bias=True),
    lora("velora",
        "LoRA that keeps only a rank-one projection of its inputs for the backward pass.",
        "Miles et al. 2024, VeLoRA, 2405.17991", velora_config={"num_groups": 64}),
    lora("lora-modules-to-save", "LoRA, with the embedding and the output head trained whole.",
        "peft.LoraConfig(modules_to_save=…)", modules_to_save=fitted.vocabulary_modules,
        ensure_weight_tying=fitted.tied),
    lora("lora-trainable-tokens", "LoRA, with the embeddings of the tokens that all prompts share.",
        "peft.LoraConfig(trainable_token_indices=…)", trainable_token_indices=fitted.common_tokens),
    lora("lora-target-parameters",
        "LoRA on parameters by name rather than on modules, as fused experts need it.",
        "peft.LoraConfig(target_parameters=…)", target_modules=[],
        target_parameters=fitted.linear_weights),
)

FACTORS = (
    Row("loha", "LoHaConfig", "The Hadamard product of two low-rank updates.",
        "Hyeon-Woo et al. 2021, FedPara, 2108.06098", LOW_RANK, rank(8) | scaled(16)),
    Row("lokr", "LoKrConfig", "A Kronecker product as the update.",
        "Yeh et al. 2023, LyCORIS, 2309.14859", LOW_RANK, rank(8) | scaled(16), lr=3e-3),
    Row("hira", "HiraConfig", "The weight times a low-rank matrix, entry by entry, as the update.",
        "Huang et al. 2025, HiRA, openreview TwJrTz9cRS", LOW_RANK, rank(32), lr=4.5e-3),
    Row("gralora", "GraloraConfig", "A small low-rank update for each block of a weight.",
        "Jung et al. 2025, GraLoRA, 2505.20355", LOW_RANK, rank(32) | scaled(64)),
    Row("gralora-hybrid", "GraloraConfig", "GraLoRA with a part of its rank shared by all blocks.",
        "Jung et al. 2025, GraLoRA, 2505.20355", LOW_RANK, rank(32) |
        {"hybrid_r": whole(16, (8, 16), "rank beside r that all blocks share")} | scaled(64)),
    Row("delora", "DeloraConfig", "A normalised low-rank update with a learned length.",
        "Bini et al. 2025, DeLoRA, 2503.18225", LOW_RANK, rank(8) |
        {"delora_lambda": whole(15, (5, 15, 30), "bound of the update's length")}, lr=1e-3),
    Row("deft", "DeftConfig",
        "A learned low-rank projection of each weight, replaced by learned content.",
        "peft.DeftConfig", LOW_RANK, rank(8)),
    Row("glora", "GloraConfig", "Low-rank scale, shift and prompt of each weight and bias.",
        "Chavan et al. 2023, GLoRA, 2306.07967", LOW_RANK, rank(8)),
    Row("lily", "LilyConfig",
        "Low-rank updates whose second factors are shared between layers and mixed by a router.",
        "Zhong et al. 2024, Lily, 2407.09946", LOW_RANK, rank(32) |
        {"num_B": whole(2, (2, 4), "shared second factors")}),
    Row("peanut", "PeanutConfig", "A small network that makes each update from its weight.",
        "PEANuT, 2410.01870", LOW_RANK, rank(32) |
        {"scaling": real(2.0, LogRange(0.5, 32.0), "scale of the update")}),
    Row("psoft", "PsoftConfig", "A rotation within the largest singular directions of each weight.",
        "PSOFT, openreview FSHrinMArK", LOW_RANK, rank(32) |
        {"psoft_alpha": whole(32, (16, 32, 64), "cancels out in PEFT, so it changes nothing")}),
    Row("miss", "MissConfig", "One factor on sums of input shards.",
        "Kang and Yin 2024, MiSS, 2409.15371", LOW_RANK, rank(64)),
    Row("miss-bat", "MissConfig", "MiSS whose update depends on the weight.",
        "Kang and Yin 2024, Bone (Bat), 2409.15371", LOW_RANK, rank(64),
        {**LINEAR, "init_weights": "bat"}),
    Row("miss-mini", "MissConfig", "MiSS with fewer columns, repeated.",
        "Kang and Yin 2024, MiSS, 2409.15371", LOW_RANK, rank(64) |
        {"mini_r": whole(64, (8, 16, 64), "columns before repetition")},
        {**LINEAR, "init_weights": "mini"}),
    Row("adamss", "AdamssConfig",
        "Low-rank updates within clusters of each weight's singular directions.",
        "peft.AdamssConfig", LOW_RANK,
        {"r": whole(100, (32, 100), "singular directions that are clustered"),
        "num_subspaces": whole(5, (5, 10, 32), "clusters for each weight")}),
    Row("randlora", "RandLoraConfig",
        "Learned scales for a full-rank sum of frozen random low-rank matrices.",
        "Albert et al. 2025, RandLoRA, 2502.00987", LOW_RANK, rank(32)),
    Row("oft", "OFTConfig", "A block-diagonal rotation of each weight.",
        "Qiu et al. 2023, OFT, 2306.07280", LOW_RANK,
        {"oft_block_size": whole(32, (16, 32, 64), "width of a rotated block")}),
    Row("boft", "BOFTConfig", "A rotation of each weight as a product of butterfly factors.",
        "Liu et al. 2023, BOFT, 2311.06243", LOW_RANK,
        {"boft_block_size": whole(4, (4, 8), "width of a rotated block"),
        "boft_n_butterfly_factor": whole(1, (1, 2),
            "butterfly factors; always 1 without PEFT's CUDA extension")}),
    Row("hra", "HRAConfig", "A chain of reflections of each weight.",
        "Yuan et al. 2024, HRA, 2405.17484", LOW_RANK, rank(8)),
    Row("p-tuning", "PromptEncoderConfig",
        "Embeddings in front of the text, made by a small network.",
        "Liu et al. 2021, P-tuning, 2103.10385", LOW_RANK, TOKENS,
        {"encoder_hidden_size": fitted.width}),
    Row("p-tuning-lstm", "PromptEncoderConfig", "P-tuning with a recurrent network.",
        "Liu et al. 2021, P-tuning, 2103.10385, §3.2", LOW_RANK, TOKENS,
        {"encoder_hidden_size": fitted.width, "encoder_reparameterization_type": "LSTM"}),
)

ENTRIES = (
    Row("shira", "ShiraConfig", "A sparse random set of entries of each weight.",
        "Bhardwaj et al. 2024, SHiRA, 2406.13175", WEIGHTS,
        {"r": whole(32, (8, 32, 64), "as many entries as LoRA has at this rank")}, lr=3e-4),
    Row("supertuning", "SupertuningConfig", "The entries of each weight that are largest.",
        "Super-Tuning, 2607.09287", WEIGHTS,
        {"sparsity": share(0.99, (0.9, 0.99, 0.999), "share of the entries that stay frozen")}),
    Row("osf", "OSFConfig",
        "The smaller singular directions of each weight; the larger are protected.",
        "Nayak et al. 2025, OSF, 2504.07097", DIRECTIONS, family="continual"),
)

FEW_NUMBERS = (
    Row("ia3", "IA3Config", "Scales on keys, values and the hidden layer of each block.",
        "Liu et al. 2022, (IA)³, 2205.05638", VECTORS, settings={}),
    Row("vera", "VeraConfig", "Scales on random low-rank matrices that all layers share.",
        "Kopiczko et al. 2023, VeRA, 2310.11454", VECTORS, rank(256, 64, 256, 1024), lr=1e-3),
    Row("pvera", "PveraConfig", "VeRA with a learned distribution in place of its first scale.",
        "PVeRA, 2512.07703", VECTORS, rank(256, 64, 256, 1024), lr=3e-3),
    Row("tinylora", "TinyLoraConfig",
        "A handful of numbers, spread over singular directions at random.", "TinyLoRA, 2602.04118",
        VECTORS, {"r": whole(2, (1, 2, 4), "singular directions of each weight"),
        "u": whole(64, (1, 16, 64), "learned numbers of each layer")}, lr=1e-3),
    Row("unilora", "UniLoraConfig",
        "One vector whose entries make up the LoRA factors of all layers.",
        "Li et al. 2025, Uni-LoRA, 2506.00799", VECTORS, rank(4, 4, 8) |
        {"theta_d_length": whole(256, (256, 1024, 4096), "length of the vector")}),
    Row("fourierft", "FourierFTConfig", "Some coefficients of each update's Fourier transform.",
        "Gao et al. 2024, FourierFT, 2405.03003", VECTORS,
        {"n_frequency": whole(1000, (1000, 5000), "coefficients of each weight"),
        "scaling": real(150.0, LogRange(10.0, 300.0), "scale of the update")},
        {**LINEAR, "init_weights": True}),
    Row("waveft", "WaveFTConfig", "Some coefficients of each update's wavelet transform.",
        "Bilican et al. 2025, WaveFT, 2505.12532", VECTORS,
        {"n_frequency": whole(2592, (1000, 2592, 5000), "coefficients of each weight"),
        "scaling": real(25.0, LogRange(1.0, 100.0), "scale of the update")}),
    Row("c3a", "C3AConfig", "Blocks of circular convolution as the update.",
        "Chen et al. 2024, C³A, 2407.19342", CONVOLUTIONS,
        {"block_size": whole(64, (32, 64, 128, 256), "width of a block; divides all widths")},),
    Row("road-1", "RoadConfig", "Rotations of pairs of outputs, one angle and scale for each.",
        "Liao and Monz 2024, RoAd, 2409.00119", VECTORS, settings={**LINEAR, "variant": "road_1"},
        lr=1e-3),
    Row("road-2", "RoadConfig", "RoAd with an angle and a scale for each element of a pair.",
        "Liao and Monz 2024, RoAd, 2409.00119", VECTORS, settings={**LINEAR, "variant": "road_2"},
        lr=1e-3),
    Row("road-4", "RoadConfig", "RoAd with two angles and two scales for each element of a pair.",
        "Liao and Monz 2024, RoAd, 2409.00119", VECTORS, settings={**LINEAR, "variant": "road_4"},
        lr=1e-3),
    Row("frod", "FrodConfig",
        "Scales and a few sparse entries within directions that all layers share.",
        "FRoD, AAAI 40(31), 39813", VECTORS,
        {"sparse_rate": share(0.01, (0.01, 0.02), "share of learned off-diagonal entries")},
        {**LINEAR, "progressbar": False}, lr=1e-4),
    Row("ln-tuning", "LNTuningConfig", "The gains of all normalisation layers.",
        "Zhao et al. 2023, LN-tuning, 2312.11420", VECTORS, settings={}, lr=1e-3),
    Row("beft", "BeftConfig", "A learned bias on the values.", "BEFT, 2509.15974", VECTORS,
        settings={}),
    Row("trainable-tokens", "TrainableTokensConfig",
        "The embeddings of the tokens that all prompts share.", "peft.TrainableTokensConfig",
        VECTORS, settings={"token_indices": fitted.common_tokens}, lr=2e-1),
    Row("adaption-prompt", "AdaptionPromptConfig",
        "Learned positions that every layer attends to through a gate that starts shut.",
        "Zhang et al. 2023, LLaMA-Adapter, 2303.16199", VECTORS,
        {"adapter_len": whole(10, (10, 50, 100), "learned positions of each layer")},
        {"adapter_layers": fitted.depth}),
)

PROMPT_LIKE = (
    Row("prompt-tuning-text", "PromptTuningConfig",
        "Prompt tuning that starts from the embeddings of training examples.",
        "Lester et al. 2021, 2104.08691, §3.2", PROMPTS, TOKENS, {"prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": fitted.examples, "tokenizer_name_or_path": fitted.tokenizer}),
)

# fmt: on

ROWS = (*LORA_VARIANTS, *FACTORS, *ENTRIES, *FEW_NUMBERS, *PROMPT_LIKE)
