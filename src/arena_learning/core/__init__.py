"""What every room uses: errors, files, text, paths, progress, the lock of a stage."""
