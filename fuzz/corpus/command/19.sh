cat <<'EOF' > f
$(rm x)
EOF
