#!/usr/bin/env bash
# camera_vm.sh LOOKSAY MODEL [WORK_DIR]: captions a camera of Linux itself, the driver "vivid" of Debian's kernel, in a virtual machine;
# pulls it out while it is watched; and asks for one that is not there. For changes to how cameras are read: emulated, it takes about
# seven minutes, so no other test calls it. Needs qemu-system-x86 and busybox-static, and fetches the kernel's package once.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
program=$(realpath "$1") model=$(realpath "$2")
mkdir -p "${3:-/tmp/looksay-camera}"
cd "${3:-/tmp/looksay-camera}"

package=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
[ -d kernel ] || { apt-get download -q "$package"; dpkg-deb -x "$package"_*.deb kernel; }
version=${package#linux-image-}
modules=lib/modules/$version
busybox depmod -b "$PWD/kernel" "$version"

rm -rf root
mkdir -p root/bin root/opt "root/$modules"
cp "$(command -v busybox)" root/bin/
cp "$program" "$(dirname "$program")/looksay-video.so" root/opt/
cp "$model" root/opt/model.gguf
for file in root/opt/looksay root/opt/looksay-video.so; do ldd "$file"; done |
    awk '/=> \// { print $3 } /^\t\// { print $1 }' | sort -u | xargs -I{} cp -L --parents {} root
cp "kernel/$modules/modules.dep" "root/$modules/"
(cd "kernel/$modules" && grep '/vivid\.ko:' modules.dep | tr -d : | xargs cp --parents -t "$OLDPWD/root/$modules")

cat >root/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox --install -s /bin
export PATH=/bin
modprobe vivid n_devs=1
watch_camera() { /opt/looksay video --model /opt/model.gguf "$@"; }
(watch_camera -f jsonl /dev/video0; echo "interrupted: exit $?") & sleep 90; killall -INT looksay; wait
watch_camera /dev/video7; echo "absent: exit $?"
(watch_camera -f srt --every 1 /dev/video0; echo "pulled out: exit $?") & sleep 90
echo -n vivid.0 >/sys/bus/platform/drivers/vivid/unbind; wait
poweroff -f
INIT
chmod +x root/init
(cd root && find . | busybox cpio -o -H newc 2>../cpio.log | gzip -1 >../initrd.gz)

timeout 1200 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3G -kernel "kernel/boot/vmlinuz-$version" \
    -initrd initrd.gz -append "console=ttyS0 quiet panic=-1" -nographic -no-reboot -net none </dev/null | tr -d '\r' >log

passed=0 failed=0
expect() {
    if grep -q -- "$1" log; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "missing in $PWD/log: $1"; fi
}
expect '"image":"/dev/video0","start":0.0,.*"caption":"[a-z ]*",.*"status":"ok"'
expect 'interrupted: exit 130'
expect '/dev/video7: cannot be read: No such file or directory'
expect 'absent: exit 1'
expect '^00:00:00,000 --> '
expect '/dev/video0: the clip ends early: '
expect 'pulled out: exit 1'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
