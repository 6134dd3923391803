# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154  # checkout and work are the driver's
# The part of .ci/run that makes a Debian 13 from nothing and runs scripts/test and scripts/demo in it, as a newcomer would.

fresh_root=$work/trixie
fresh_checkout="/root/a fresh checkout"
in_fresh_root=("$checkout/.ci/enter-root" "$fresh_root")

can_make_fresh_root()
{
    (($(id -u) == 0)) && unshare --mount --pid --fork true 2>/dev/null
}

make_fresh_root()
{
    can_make_fresh_root || skip "making a Debian 13 needs root, and mounts"
    "$checkout/scripts/setup-packages" debootstrap || skip "debootstrap is not here and cannot be installed"
    debootstrap --variant=minbase trixie "$fresh_root" || skip "debootstrap could not fetch a Debian 13"
    cp -L -- /etc/resolv.conf /etc/hosts "$fresh_root/etc/"
}

install_backports_mesa()
{
    local sources=$fresh_root/etc/apt/sources.list
    sed -n 's/ trixie / trixie-backports /p' "$sources" >"$sources.d/backports.list"
    "${in_fresh_root[@]}" apt-get -qq update &&
        "${in_fresh_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
            --target-release trixie-backports mesa-vulkan-drivers >/dev/null
}

copy_checkout()
{
    mkdir -- "$fresh_root$fresh_checkout"
    tar -C "$checkout" --exclude='./build*' --exclude=./.git -c . | tar -C "$fresh_root$fresh_checkout" -x
}

# With everything in place the set-up has nothing to say, and nothing is built again.
second_run_does_nothing()
{
    local said
    said=$("${in_fresh_root[@]}" "$fresh_checkout/scripts/setup-packages" && "${in_fresh_root[@]}" ninja -C "$fresh_checkout/build")
    say "$said"
    [[ $said == *"no work to do"* && $said != *Installing* ]]
}

fresh_debian()
{
    make_fresh_root
    install_backports_mesa || skip "Mesa could not be fetched from Debian 13's backports"
    copy_checkout
    results_of fresh_debian "$fresh_root$fresh_checkout/build" "${in_fresh_root[@]}" "$fresh_checkout/scripts/test"
    second_run_does_nothing
    timeout -k 30 900 "${in_fresh_root[@]}" "$fresh_checkout/scripts/demo"
}
