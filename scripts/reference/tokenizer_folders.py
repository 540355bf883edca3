"""Tokenizers in loose files, as transformers loads them, and some of rare parts: the fixtures of src/tokenizer/tokenizer-files.test.ts.

    python scripts/reference/tokenizer_folders.py [DIR COUNT]     writes test/fixtures/tokenizer-folders/, or the same with so many texts elsewhere

Needs `pip install transformers sentencepiece protobuf` (written with transformers 5.24). The vocabularies are small ones, learned from a few lines.
"""

import importlib.util
import io
import json
import sys
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("gguf_pre", HERE / "gguf_pre.py")
pre = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pre)


def byte_level(special, size=500):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(pre.TEXTS * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {
        "vocab.json": json.dumps(model["vocab"], ensure_ascii=False, separators=(",", ":")),
        "merges.txt": "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in model["merges"]),
    }


def pieces(**options):
    writer = io.BytesIO()
    settings = {"vocab_size": 600, "byte_fallback": True, "num_threads": 1, "minloglevel": 2, "hard_vocab_limit": False, "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False, "max_sentence_length": 10000, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(pre.TEXTS * 3), model_writer=writer, model_type="bpe", **settings)
    return {"tokenizer.model": writer.getvalue()}


def words():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator([text.lower() for text in pre.TEXTS] + pre.TEXTS, trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    vocab = tokenizer.get_vocab()
    return {"vocab.txt": "".join(token + "\n" for token in sorted(vocab, key=vocab.get))}


def config(name, **more):
    return {"tokenizer_config.json": json.dumps({"tokenizer_class": name, **more})}


def whole(tokenizer):
    return {"tokenizer.json": json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")), **config("PreTrainedTokenizerFast")}


def parts():
    """Parts of tokenizer.json that no class above has."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
    tokenizer.train_from_iterator(pre.TEXTS, trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>"], show_progress=False))
    tokenizer.decoder = decoders.CTC(pad_token="<pad>", word_delimiter_token="|", cleanup=True)
    yield "word-level", whole(tokenizer)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=5))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(length=6)])
    tokenizer.train_from_iterator(pre.TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False))
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    yield "wordpiece-parts", whole(tokenizer)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(pre.TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    yield "bpe-decoder", whole(tokenizer)


def folders():
    yield from parts()
    end = "<|endoftext|>"
    chat = {"500": {"content": "<|im_start|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True},
            "501": {"content": "<tool>", "lstrip": True, "normalized": False, "rstrip": True, "single_word": False, "special": False}}
    yield "gpt2", {**byte_level([end]), **config("GPT2Tokenizer")}
    yield "gpt2-prefix", {**byte_level([end]), **config("GPT2TokenizerFast", add_prefix_space=True, add_bos_token=True, pad_token="<pad>")}
    yield "gpt2-map", {**byte_level(["<s>", "</s>", "<unk>"]), **config("GPT2Tokenizer"), "added_tokens.json": json.dumps({"<|user|>": 500, "@@": 501}),
                       "special_tokens_map.json": json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False, "rstrip": True, "normalized": False, "single_word": False}, "unk_token": "<unk>",
                                                              "additional_special_tokens": ["<mask>"]})}
    yield "qwen2", {**byte_level([]), **config("Qwen2Tokenizer", added_tokens_decoder=chat, eos_token="<|im_start|>", pad_token="<|im_start|>", unk_token=None)}
    yield "neox", {**byte_level([end, "<|padding|>"]), **config("GPTNeoXTokenizer", add_eos_token=True)}
    yield "roberta", {**byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), **config("RobertaTokenizer")}
    yield "bert", {**words(), **config("BertTokenizer")}
    yield "bert-cased", {**words(), **config("BertTokenizerFast", do_lower_case=False, tokenize_chinese_chars=False)}
    yield "bert-accents", {**words(), **config("DistilBertTokenizer", strip_accents=False)}
    yield "llama", {**pieces(), **config("LlamaTokenizer", add_bos_token=True, add_eos_token=False, legacy=False), "added_tokens.json": json.dumps({"<|im_start|>": 600, "<tool>": 601}),
                    "special_tokens_map.json": json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "additional_special_tokens": ["<|im_start|>"]})}
    yield "llama-legacy", {**pieces(user_defined_symbols=["<|user|>", "fox"]), **config("LlamaTokenizerFast", legacy=True, add_eos_token=True)}
    yield "llama-no-prefix", {**pieces(add_dummy_prefix=False), **config("LlamaTokenizer", add_prefix_space=False)}
    yield "gemma", {**pieces(add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", user_defined_symbols=["<mask>", "<start_of_turn>"]), **config("GemmaTokenizer", add_bos_token=True)}


def write(folder=HERE.parents[1] / "test" / "fixtures" / "tokenizer-folders", count=150):
    texts = [text for text in pre.strings(int(count), 41) if not any(special in text for special in ("<s>", "<mask>"))] + ["<tool> a <tool>b", "a @@ b<|user|>c", "the <pad>fox", "hello"]
    expected = {"texts": texts, "rows": {}}
    for name, files in folders():
        place = Path(folder) / name
        place.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (place / file).write_bytes(content if isinstance(content, bytes) else (content + ("" if content.endswith("\n") else "\n")).encode())
        tokenizer = AutoTokenizer.from_pretrained(str(place))
        # Special tokens in a text are plain text, as for our encode(); what is around it is the same for all.
        ids = [tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids for text in texts]
        special = [tokenizer(text, add_special_tokens=False).input_ids for text in texts[-4:]]
        expected["rows"][name] = {"ids": ids, "special": special, "surrounded": tokenizer("hello").input_ids, "decoded": [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in ids[:20]]}
    (Path(folder) / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(*sys.argv[1:])
