"""Keys, passwords and personal data are found and never repeated; hashes, ids and versions are none."""

from __future__ import annotations

import random

import pytest
from guard_texts import SECRETS, found

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.checks.pii import make as pii
from llmops_jupyter.guard.checks.secrets import Secrets, entropy_of


@pytest.mark.parametrize("secret", SECRETS)
def test_shapes_of_keys_are_found_and_never_repeated(secret):
    one = found(Secrets(), f"use {secret} for it")
    assert one.hit
    assert "SECRET" in one.replaced
    assert secret[4:] not in f"{one.replaced}{one.reason}{one.evidence}"
    assert one.replaced.startswith("use ")
    assert one.replaced.endswith(" for it")


@pytest.mark.parametrize(
    "text",
    [
        'api_key = "9fQ2xL7vB4mN8kT1"',
        "the password is Tr0ub4dor&3x",
        "DB_PASSWORD=s3cr3tValue99",
        "client_secret: Zx81kQp04LmNv7Rt",
        '{"access_token":"a8F3kk29Lm20vvQ1"}',
        "Authorization: Bearer a8F3kk29Lm20vvQ1x9",
        "AccountKey=q83vEj0OqPZ8bFf5mJt3xA==",
        "Passwort: Tr0ub4dor&3x",
        "das Kennwort ist Tr0ub4dor&3x",
        "mot de passe : Tr0ub4dor&3x",
        "contraseña: hunter2x",
        "pwd=Tr0ub4dor3x",
        "DB_PASS=ab_c1_d2_secret",
        "password: hunter2",
        "password='ab;cd1efgh'",
        "password='it\"s4secret'",
        "Server=x;Password=ab1;cd9xyz;Database=y",
        "export API_KEY=abc_def_123_ghi_9",
    ],
)
def test_values_behind_a_telling_name_are_secrets(text):
    one = found(Secrets(), text)
    assert one.hit
    assert "[SECRET]" in one.replaced
    assert not found(Secrets(), one.replaced).hit


@pytest.mark.parametrize(
    "text",
    [
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "id: 550e8400-e29b-41d4-a716-446655440000",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "password: your_password_here1",
        "api_key = os.environ['API_KEY1']",
        "API_KEY=${API_KEY_PROD1}",
        "the token count is 1234567890",
        "the secret is patience and practice",
        "My password is not working, please help",
        "tokens: input_tokens, output_tokens",
        "ETag 33a64df551425fcc55e4d42a148795d9f25f89d4",
        "import { tokenizer } from 'lib/tokenizer2'",
        "tokenizer = GPT2Tokenizer.from_pretrained('gpt2')",
        "token_embeddings = model.encoder2.embeddings",
        "max_tokens = num_layers_12_heads",
        "next_token = outputs.logits1[:, -1]",
        "password = hashlib.sha256(pw)",
        "api_key = settings.OPENAI_KEY_V2",
        "TOKENS_PER_BATCH = batch_size_per_gpu_8",
        "connect(password=settings.db_pw1, user=x)",
        "token = f'{prefix}_{count_1}abc'",
        "secret = load_secret_v2(path)",
        "token: torch.Tensor2d",
    ],
)
def test_hashes_ids_and_examples_are_no_secrets(text):
    assert not found(Secrets(), text).hit


LONG = "".join(random.Random(5).choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789", k=800))


@pytest.mark.parametrize(
    "text",
    [
        f"token = '{LONG}'",
        f"token = {LONG}",
        f"Authorization: Bearer {LONG}",
        f"Authorization: Bearer {LONG}:{LONG}",
        f"> -----BEGIN PRIVATE KEY-----\n> {LONG[:64]}\n> {LONG[64:128]}\n> {LONG[:10]}==",
        f"> > -----BEGIN PRIVATE KEY-----\n> > {LONG[:64]}\n> > -----END PRIVATE KEY-----",
        f"# -----BEGIN RSA PRIVATE KEY-----\n# {LONG[:64]}\n# {LONG[64:128]}",
    ],
)
def test_a_long_secret_is_taken_out_to_its_end(text):
    left = found(Secrets(), f"{text}\nend").replaced
    assert left.endswith(("[SECRET]\nend", "[SECRET]'\nend"))
    assert LONG[40:60] not in left
    assert LONG[-20:] not in left


def test_versions_and_remotes_are_no_personal_data():
    for text in ("version 1.2.3.4 released", "numpy==1.2.3.4", "git@github.com:org/repo.git"):
        assert not found(pii(), text).hit, text
    assert found(pii(), "the server 10.1.2.3, version 2").replaced == (
        "the server [IP_ADDRESS], version 2"
    )


def test_entropy_is_that_of_shannon():
    assert entropy_of("aabb") == pytest.approx(1.0)
    assert entropy_of("abcd") == pytest.approx(2.0)


def test_personal_data_is_found_by_kind_and_what_may_stay_stays():
    text = "Write to ada@example.com or help@shop.example, +44 20 7946 0958"
    one = found(pii(), text)
    assert one.replaced == "Write to [EMAIL] or [EMAIL], [PHONE]"
    assert "ada" not in f"{one.reason}{one.evidence}"
    kept = found(pii(kinds=["email"], allow=["@shop.example"]), text)
    assert kept.replaced == "Write to [EMAIL] or help@shop.example, +44 20 7946 0958"
    assert not found(pii(allow=["@shop.example"]), "help@shop.example").hit
    with pytest.raises(GuardError, match="Did you mean 'email'"):
        pii(kinds=["emial"])
