"""Where frames come from: video files and pipes, cameras, folders of pictures."""
