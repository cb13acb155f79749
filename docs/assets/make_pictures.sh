#!/usr/bin/env bash
# Makes the pictures of the README and the site from photo.jpg and portrait.jpg, with the commands shown there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The README's first command says with which boxes segment.png is made; only the name of the output differs.
arguments=$(grep -o 'samovar segment .*' README.md | head -n 1 | sed 's#--out [^ ]*#--out docs/assets/segment.png#')
eval "$arguments"
samovar auto docs/assets/portrait.jpg --format overlay --out docs/assets/auto.png
samovar inpaint remove docs/assets/photo.jpg --box 190,225,268,315 --out docs/assets/removed.png
folder=$(mktemp -d)
samovar track docs/assets/clip.mp4 --box 104,2,272,198 --label cup --quiet --out "$folder/cup.mp4"
python docs/assets/make_track.py "$folder/cup.mp4"
rm -r "$folder"
