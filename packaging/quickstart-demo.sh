#!/bin/sh
# The second half of quickstart.sh, as root: DIR holds an installation in DIR/usr.
set -eu
dir=$1
bin=$dir/usr/bin
profiles=$dir/usr/share/landgate/policies

bundle() {  # bundle NAME ANNOTATIONS
  mkdir -p "$dir/$1/rootfs"
  ( cd "$dir/$1/rootfs"
    mkdir -p bin etc proc dev sys tmp workspace/.git/hooks home/user
    cp /bin/busybox bin/busybox
    for applet in sh cat echo cp chmod mkdir ls; do ln -s busybox bin/$applet; done
    echo 'int main(void) { return 0; }' > workspace/main.c
    echo 'API_KEY=hunter2' > workspace/.env
    printf '[core]\n\tbare = false\n' > workspace/.git/config
    echo 'private notes' > home/user/notes
    cat > bin/job <<'JOB'
#!/bin/sh
try() {
  what=$1; shift
  if got=$("$@" 2>&1) && [ -n "$got" ]; then printf '  %-48s yes  %s\n' "$what" "$got"
  else printf '  %-48s no\n' "$what"; fi
}
try 'read the source (workspace/main.c)'           cat /workspace/main.c
try 'write the source'                              sh -c 'echo "// changed" >> /workspace/main.c && echo done'
try 'run a program made in the workspace'           sh -c 'cp /bin/busybox /workspace/busybox-copy && /workspace/busybox-copy echo it runs'
try 'read the secret (workspace/.env)'              cat /workspace/.env
try 'install a git hook for the host to run'        sh -c 'echo evil > /workspace/.git/hooks/pre-commit && echo done'
try 'change git'"'"'s configuration'                sh -c 'echo evil >> /workspace/.git/config && echo done'
try 'read somebody'"'"'s home'                      cat /home/user/notes
try 'change the system (/etc)'                      sh -c 'echo evil > /etc/new && echo done'
JOB
    chmod 755 bin/job )
  cat > "$dir/$1/config.json" <<CONFIG
{
  "ociVersion": "1.0.2",
  "process": {
    "user": { "uid": 0, "gid": 0 }, "args": ["/bin/job"], "cwd": "/",
    "env": ["PATH=/bin"]
  },
  "root": { "path": "rootfs" },
  "annotations": { $2 },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }
  ],
  "linux": { "namespaces": [
    { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" } ] }
}
CONFIG
}

# The node's configuration of this demonstration, instead of /etc/landgate/config.json.
cat > "$dir/config.json" <<CONFIG
{ "policyDirs": ["$profiles"], "runDir": "$dir/run" }
CONFIG

id=landgate-quickstart-$$
trap 'runc --root "$dir/runc" delete --force $id-open 2>/dev/null || :
      runc --root "$dir/runc" delete --force $id-confined 2>/dev/null || :' EXIT

bundle open ''
printf '\n== the container without a policy: runc run\n'
runc --root "$dir/runc" run --bundle "$dir/open" "$id-open"

bundle confined '"io.landgate.policy": "agent-workspace"'
printf '\n== the same with the annotation io.landgate.policy=agent-workspace: landgate-runtime run\n'
LANDGATE_CONFIG=$dir/config.json LANDGATE_RUNTIME=runc \
  "$bin/landgate-runtime" --root "$dir/runc" run --bundle "$dir/confined" "$id-confined"

printf '\nThe policy is packaging/profiles/agent-workspace.json. Ask it:\n'
printf '  build/release/bin/landgatectl policy explain agent-workspace --path /workspace/.git/config --right write\n'
