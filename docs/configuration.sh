#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints docs/configuration.md from the programs' own tables: configuration.sh BIN_DIRECTORY
set -eu
cat <<'END'
<!-- Written by `make docs` from the daemons' tables. Change those. -->
# Configuration

A daemon reads, each winning over the one before: its defaults, `--config FILE`, the environment, `--set KEY=VALUE` (repeatable).

- A file has one `key=value` a line; lines that begin with `#` are comments; blanks around key and value are dropped. A key may stand there once.
- In the environment a key is written with `SLUICE_` in front, in capitals, with `_` for `.`: `SLUICE_LOG_RETENTION_MS`.
- Numbers are plain digits, without units. Sizes are bytes; a key ending in `.ms` is milliseconds. Lists are separated by commas.
- All mistakes are reported together, with their places; the daemon then exits with status 2.

Keys of the sections *Defaults for topics* apply to topics that do not set their own: `sluice config alter --topic T --set retention.ms=...` sets a topic's. There a
key has Kafka's topic-level name, without the prefix `log.`.

# sluice-broker

With `--standalone` it also takes the keys of the section *Metadata server*.

END
"$1/sluice-broker" --standalone --help-config
cat <<'END'

# sluice-metad

END
"$1/sluice-metad" --help-config
