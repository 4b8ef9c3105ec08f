cat <<EOF
$(rm x) `id`
EOF
